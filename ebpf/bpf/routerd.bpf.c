/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tc programs. Each comes twice: for devices with an Ethernet header and,
 * _ip, for those without (WireGuard, PPP, TUN). All return TC_ACT_UNSPEC where
 * they have nothing to say, so that filters of others run after them.
 *
 *   steer  ingress of a LAN device   marks packets to listed addresses
 *   learn  egress of a LAN device    DNS answers, figures of flows
 *   learn  egress of lo              DNS answers to the router itself
 *   answer, match, records, hints   the later stages of learn, by tail call
 *   back   by tail call              what routerd's resolver sends, in front of those
 *   guard  egress of a WAN device    nothing marked leaves here
 *   query, stream   by tail call from steer, learn (on lo) and guard: what is
 *                   turned to the resolver
 *   bypass          by tail call from steer: DNS past the router
 *   hello, walk, named   by tail call from steer: server names in TLS
 */
#include "back.h"
#include "guard.h"
#include "learn.h"
#include "steer.h"

/* Whether the resolver's work has to do with a packet of the router's own: 1, it
 * may be from the resolver; 2, on lo, a query. */
static __always_inline int own_dns(struct __sk_buff *skb, int eth, const struct rd_config *cfg)
{
	if (!(cfg->flags & RD_F_RESOLVE) || skb->ingress_ifindex)
		return 0;
	if (from_port(skb, eth, cfg->resolver_port))
		return 1;
	if (skb->ifindex != LO_IFINDEX || !(cfg->flags & RD_F_RESOLVE_OWN) ||
	    skb->mark & cfg->mark_mask)
		return 0;
	return maybe_query(skb, eth) ? 2 : 0;
}

static __always_inline int to_client(struct __sk_buff *skb, int eth)
{
	const struct rd_config *cfg = config_get();
	int dns, flow, own;
	struct scratch *s;

	if (!cfg)
		return TC_ACT_UNSPEC;
	dns = maybe_dns(skb, eth);
	flow = accountable(skb, eth, cfg);
	own = own_dns(skb, eth, cfg);
	if (own == 2)
		return own_query(skb, eth, AT_LO, TC_ACT_UNSPEC);
	if (!dns && !flow && !own)
		return TC_ACT_UNSPEC;
	s = scratch_get();
	if (!s)
		return TC_ACT_UNSPEC;
	/* What cannot be read is no answer, except that a fragment without the
	 * ports may begin one: no sender of today makes such (RFC 7112). */
	if (!packet_read(skb, eth, &s->p))
		return s->p.frag == FRAG_FIRST ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	if (own)
		return back_begin(skb, s, eth);
	if (flow)
		account(skb, s);
	return dns ? learn_packet(skb, eth, s) : TC_ACT_UNSPEC;
}

SEC("tc")
int routerd_steer(struct __sk_buff *skb)
{
	return steer_packet(skb, 1);
}

SEC("tc")
int routerd_steer_ip(struct __sk_buff *skb)
{
	return steer_packet(skb, 0);
}

SEC("tc")
int routerd_learn(struct __sk_buff *skb)
{
	return to_client(skb, 1);
}

SEC("tc")
int routerd_learn_ip(struct __sk_buff *skb)
{
	return to_client(skb, 0);
}

SEC("tc")
int routerd_answer(struct __sk_buff *skb)
{
	return learn_answer(skb);
}

SEC("tc")
int routerd_match(struct __sk_buff *skb)
{
	return learn_match(skb);
}

SEC("tc")
int routerd_records(struct __sk_buff *skb)
{
	return learn_records(skb);
}

SEC("tc")
int routerd_hints(struct __sk_buff *skb)
{
	return learn_hints(skb);
}

SEC("tc")
int routerd_query(struct __sk_buff *skb)
{
	return query_stage(skb);
}

SEC("tc")
int routerd_stream(struct __sk_buff *skb)
{
	return stream_stage(skb);
}

SEC("tc")
int routerd_back(struct __sk_buff *skb)
{
	return back_stage(skb);
}

SEC("tc")
int routerd_bypass(struct __sk_buff *skb)
{
	return bypass_stage(skb);
}

SEC("tc")
int routerd_hello(struct __sk_buff *skb)
{
	return hello_stage(skb);
}

SEC("tc")
int routerd_walk(struct __sk_buff *skb)
{
	return walk_stage(skb);
}

SEC("tc")
int routerd_named(struct __sk_buff *skb)
{
	return named_stage(skb);
}

SEC("tc")
int routerd_guard(struct __sk_buff *skb)
{
	return guard_packet(skb, 1);
}

SEC("tc")
int routerd_guard_ip(struct __sk_buff *skb)
{
	return guard_packet(skb, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
