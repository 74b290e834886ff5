/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard: the last line of defence, on the way out of a WAN device. What steer
 * marked for a tunnel or to be blocked does not leave here, whatever became of
 * rules, routes and firewall; nor does the router's own packet to an address
 * whose destination is never to use the WAN, or that of a client behind a device
 * that is so new that the daemon has not put programs on it.
 */
#ifndef RD_GUARD_H
#define RD_GUARD_H

#include "choose.h"
#include "packet.h"
#include "query.h"
#include <linux/errno.h>

static __always_inline int guard_drop(void)
{
	stat_add(RD_STAT_GUARDED, 1);
	return TC_ACT_SHOT;
}

/* Whether the router's own packet is to an address that the WAN is closed for. */
static __always_inline int guard_own(const struct rd_config *cfg, const struct rd_addr *server)
{
	__u64 what = listed(cfg, server);
	struct scratch *s;

	if (!what)
		return 0;
	s = scratch_get();
	if (!s)
		return 1;
	addr_copy(&s->c.server, server);
	__builtin_memset(&s->c.client_addr, 0, sizeof(s->c.client_addr));
	s->c.client = RD_CLIENT_SELF;
	choose(cfg, s, what, 0);
	return s->c.dest && s->c.slot & RD_SLOT_CLOSED && !s->c.drain;
}

/* Whether a packet may be a DNS query over UDP. Headers of the router's own
 * packets are of the common shape. */
static __always_inline int maybe_query(struct __sk_buff *skb, int eth)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0;
	__u8 *ip = data + off;

	if (data + off + 44 > end)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ip[0] == 0x45 && ip[9] == IPPROTO_UDP && ip[22] == 0 && ip[23] == DNS_PORT;
	return skb->protocol == bpf_htons(ETH_P_IPV6) && ip[6] == IPPROTO_UDP && ip[42] == 0 &&
	       ip[43] == DNS_PORT;
}

/* Looks at a query on its way out by the WAN; verdict is what other packets to the
 * server get. */
static __always_inline int own_query(struct __sk_buff *skb, int eth, enum query_at at, int verdict)
{
	struct scratch *s = scratch_get();

	if (!s || !packet_read(skb, eth, &s->p))
		return verdict;
	if (s->p.proto != IPPROTO_UDP || s->p.dport != DNS_PORT)
		return verdict;
	s->c.client = RD_CLIENT_SELF;
	__builtin_memset(&s->c.client_addr, 0, sizeof(s->c.client_addr));
	return query_begin(skb, s, at, eth, verdict);
}

/* Whether the address at s->c.server is closed for anybody. */
static __always_inline int closed_for_some(const struct rd_config *cfg, struct scratch *s)
{
	const struct rd_known *known = bpf_map_lookup_elem(&addresses, &s->c.server);
	const struct rd_rule *net;

	s->c.target = known && !(known->flags & RD_K_DRAIN) ? known->target : 0;
	if (chain_closed(&s->c))
		return 1;
	if (!(cfg->flags & RD_F_NETWORKS))
		return 0;
	s->key.bits = 128;
	addr_copy(&s->key.addr, &s->c.server);
	net = bpf_map_lookup_elem(&networks, &s->key.bits);
	s->c.target = net && !net->full ? net->suffix : 0;
	return chain_closed(&s->c);
}

/* Whether a packet without a mark is to an address that the WAN is closed for. */
static __always_inline int guard_closed(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
					int stranger)
{
	struct rd_addr far __attribute__((aligned(8)));
	struct scratch *s;

	if (!stranger && !(cfg->flags & RD_F_OWN))
		return 0;
	if (!packet_far(skb, eth, 0, &far))
		return 0;
	if (!stranger)
		return guard_own(cfg, &far);
	s = scratch_get();
	if (!s)
		return 1;
	addr_copy(&s->c.server, &far);
	return closed_for_some(cfg, s);
}

/* Whether a device that had programs is there no more, and its clients may be behind a
 * new one: the answers that a forwarder on the router gives them are seen by nobody. */
static __always_inline int lan_gone(struct __sk_buff *skb, const struct rd_config *cfg)
{
	int i;

	for (i = 0; i < 4; i++) {
		struct bpf_fib_lookup fib = {.family = 2 /* AF_INET */, .ifindex = cfg->lan[i]};

		if (cfg->lan[i] && bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == -ENODEV)
			return 1;
	}
	return 0;
}

/* A packet that no program has seen on its way in: of the router itself, or of a
 * stranger, which came in by a device that is too new to have programs. One that
 * shall have none is held up no longer than it takes the daemon to see it. */
static __always_inline int guard_unmarked(struct __sk_buff *skb, int eth,
					  const struct rd_config *cfg, int stranger)
{
	int closed = guard_closed(skb, eth, cfg, stranger);
	enum query_at at = AT_STRANGER;

	if (maybe_query(skb, eth)) {
		if (!stranger && cfg->flags & RD_F_RESOLVE_OWN)
			at = AT_WAN;
		if (stranger || at == AT_WAN || lan_gone(skb, cfg))
			return own_query(skb, eth, at, closed ? TC_ACT_SHOT : TC_ACT_UNSPEC);
	}
	return closed ? guard_drop() : TC_ACT_UNSPEC;
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
	if (path == RD_PATH_NONE) {
		/* Forwarded and unmarked: steer has seen it, unless its device is new. */
		if (skb->ingress_ifindex && (!cfg->newest || skb->ingress_ifindex <= cfg->newest))
			return TC_ACT_UNSPEC;
		return guard_unmarked(skb, eth, cfg, !!skb->ingress_ifindex);
	}
	key.bits = 128;
	if (!packet_far(skb, eth, 0, &key.addr))
		return TC_ACT_UNSPEC;
	/* Tunnels that keep the inner packet's mark (GRE, IPIP): the outer one
	 * goes to an endpoint, which is exempt by itself and not as part of a
	 * range. */
	range = bpf_map_lookup_elem(&exempt, &key);
	return range && *range == 1 + 128 ? TC_ACT_UNSPEC : guard_drop();
}

#endif
