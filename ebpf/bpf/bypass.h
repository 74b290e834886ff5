/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bypass: clients' DNS past the router. DNS over TLS or QUIC has a port of its
 * own (RFC 7858, RFC 9250) and is refused at once, so that clients fall back to
 * what can be read. DNS over HTTPS looks like any other: connections to known
 * resolvers are counted and told, and go on.
 */
#ifndef RD_BYPASS_H
#define RD_BYPASS_H

#include "learn.h"
#include "query.h"
#include "reset.h"

#define DOT_PORT 853
#define WEB_PORT 443
#define TOLD_TICKS 3353 /* an hour */

/* Whether a packet is to be looked at by the stage: any to DoT's port, the first
 * ones of a connection to port 443. */
static __always_inline int bypass_concerns(struct __sk_buff *skb, const struct packet *p)
{
	__u8 first;

	if (p->dport == DOT_PORT)
		return 1;
	if (p->dport != WEB_PORT)
		return 0;
	if (p->proto == IPPROTO_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	/* Long headers: QUIC's handshake, RFC 8999 and RFC 9000 section 17.2. */
	return !bpf_skb_load_bytes(skb, p->payload, &first, 1) && (first & 0xc0) == 0xc0;
}

/* Whether the packet is to the router itself. */
static __always_inline int to_router(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup f = {.ifindex = skb->ifindex};

	if (p->v6) {
		f.family = 10; /* AF_INET6 */
		__builtin_memcpy(f.ipv6_src, &p->src, 16);
		__builtin_memcpy(f.ipv6_dst, &p->dst, 16);
	} else {
		f.family = 2; /* AF_INET */
		__builtin_memcpy(&f.ipv4_src, &p->src.b[12], 4);
		__builtin_memcpy(&f.ipv4_dst, &p->dst.b[12], 4);
	}
	return bpf_fib_lookup(skb, &f, sizeof(f), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* Tells of a client and a server, once an hour. */
static __always_inline void bypass_tell(struct __sk_buff *skb, struct scratch *s, __u8 kind)
{
	struct rd_told_key key = {.client = s->c.client, .kind = kind};
	__u32 *last, now = now_ticks();

	addr_copy(&key.server, &s->p.dst);
	last = bpf_map_lookup_elem(&told, &key);
	if (last && now - *last < TOLD_TICKS)
		return;
	bpf_map_update_elem(&told, &key, &now, BPF_ANY);
	s->a.rule = 0;
	s->a.target = 0;
	s->a.full = 0;
	s->a.verified = 0;
	s->a.name_len = 0;
	s->event.ttl = 0;
	s->event.addresses = 1;
	addr_copy(&s->event.addr[0], &s->p.dst);
	forget();
	tell(skb, s, kind, kind == RD_EV_DOT);
}

static __always_inline int bypass_web(struct __sk_buff *skb, struct scratch *s)
{
	s->key.bits = 128;
	addr_copy(&s->key.addr, &s->p.dst);
	forget();
	if (!bpf_map_lookup_elem(&doh, &s->key.bits))
		return s->q.verdict;
	stat_add(RD_STAT_DOH, 1);
	bypass_tell(skb, s, RD_EV_DOH);
	return s->q.verdict;
}

static __always_inline int bypass_stage(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();

	if (!cfg || !s)
		return TC_ACT_UNSPEC;
	if (s->p.dport == WEB_PORT)
		return bypass_web(skb, s);
	if (to_router(skb, &s->p))
		return s->q.verdict;
	stat_add(RD_STAT_BYPASS, 1);
	bypass_tell(skb, s, RD_EV_DOT);
	forget();
	if (s->p.proto == IPPROTO_TCP && s->p.frag == FRAG_NONE)
		return reset_reply(skb, s->q.eth, &s->p);
	mark(skb, cfg, RD_PATH_BLOCK);
	return TC_ACT_UNSPEC;
}

#endif
