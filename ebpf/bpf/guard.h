/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard: the last line of defence, on the way out of a WAN device. What steer
 * marked for a tunnel or to be blocked does not leave here, whatever became of
 * rules, routes and firewall; nor does the router's own packet to an address
 * whose destination is never to use the WAN.
 */
#ifndef RD_GUARD_H
#define RD_GUARD_H

#include "choose.h"
#include "packet.h"

static __always_inline int guard_drop(void)
{
	stat_add(RD_STAT_GUARDED, 1);
	return TC_ACT_SHOT;
}

/* Whether the router's own packet is to an address that the WAN is closed for. */
static __always_inline int guard_own(const struct rd_config *cfg, const struct rd_addr *server)
{
	struct scratch *s;

	if (!listed(cfg, server))
		return 0;
	s = scratch_get();
	if (!s)
		return 1;
	addr_copy(&s->c.server, server);
	__builtin_memset(&s->c.client_addr, 0, sizeof(s->c.client_addr));
	s->c.client = RD_CLIENT_SELF;
	choose(cfg, s, 0);
	return s->c.dest && s->c.slot & RD_SLOT_CLOSED && !s->c.drain;
}

static __always_inline int guard_packet(struct __sk_buff *skb, int eth)
{
	const struct rd_config *cfg = config_get();
	struct rd_prefix key;
	__u32 path, *range;

	if (!cfg)
		return TC_ACT_UNSPEC;
	path = (skb->mark & cfg->mark_mask) >> (cfg->mark_shift & 31);
	if (path == RD_PATH_DIRECT)
		return TC_ACT_UNSPEC;
	/* Forwarded and unmarked: steer has seen it. */
	if (path == RD_PATH_NONE && (skb->ingress_ifindex || !(cfg->flags & RD_F_OWN)))
		return TC_ACT_UNSPEC;
	key.bits = 128;
	if (!packet_far(skb, eth, 0, &key.addr))
		return TC_ACT_UNSPEC;
	if (path != RD_PATH_NONE) {
		/* Tunnels that keep the inner packet's mark (GRE, IPIP): the
		 * outer one goes to an endpoint, which is exempt by itself and
		 * not as part of a range. */
		range = bpf_map_lookup_elem(&exempt, &key);
		return range && *range == 1 + 128 ? TC_ACT_UNSPEC : guard_drop();
	}
	return guard_own(cfg, &key.addr) ? guard_drop() : TC_ACT_UNSPEC;
}

#endif
