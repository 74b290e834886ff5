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

static __always_inline int guard_packet(struct __sk_buff *skb, int eth)
{
	const struct rd_config *cfg = config_get();
	struct rd_addr self = {};
	struct rd_prefix key;
	struct choice c;
	__u32 path;

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
		 * outer one goes to an endpoint. */
		if (bpf_map_lookup_elem(&exempt, &key))
			return TC_ACT_UNSPEC;
		return guard_drop();
	}
	choose(cfg, &key.addr, &self, RD_CLIENT_SELF, &c);
	if (c.dest && c.slot & RD_SLOT_CLOSED && !c.drain)
		return guard_drop();
	return TC_ACT_UNSPEC;
}

#endif
