/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * query: turns a DNS query for a listed name to routerd's own resolver, packet
 * by packet, whatever server it was meant for, before connection tracking sees
 * it: listed and unlisted queries of one socket are two connections to NAT.
 *
 * Fail closed: a query of a listed name never goes where it was going. Where no
 * resolver listens it is answered by SERVFAIL at once. Every other query goes on
 * as it came, to the octet.
 */
#ifndef RD_QUERY_H
#define RD_QUERY_H

#include "choose.h"
#include "dns.h"
#include "turn.h"

#define DNS_QR 0x8000
#define DNS_RA_SERVFAIL 0x0082
#define STREAM_IDLE 30 /* ticks after which a port's connection counts as over */

static __always_inline void mark(struct __sk_buff *skb, const struct rd_config *cfg, __u32 path)
{
	skb->mark = (skb->mark & ~cfg->mark_mask) |
		    (path << (cfg->mark_shift & 31) & cfg->mark_mask);
}

/* What a query is remembered by, and whom it was meant for. */
static __always_inline void query_key(struct __sk_buff *skb, struct scratch *s)
{
	struct query *q = &s->q;

	addr_copy(&q->key.client, &s->p.src);
	q->key.port = s->p.sport;
	q->key.id = 0;
	q->key.proto = s->p.proto;
	addr_copy(&q->asked.server, &s->p.dst);
	q->asked.port = s->p.dport;
	q->asked.seen = now_ticks();
	q->asked.ifindex = 0;
	__builtin_memset(q->asked.mac, 0, sizeof(q->asked.mac));
	if (q->at != AT_WAN)
		return;
	q->asked.ifindex = skb->ifindex;
	if (q->eth)
		bpf_skb_load_bytes(skb, 6, q->asked.mac, 6);
}

/*
 * Hands a UDP packet to port 53, which s->p describes and whose client is s->c's,
 * to the stage below; verdict is what it gets unless it asks for a listed name.
 * A first fragment that ends before the question does is none that anybody sends.
 */
static __always_inline int query_begin(struct __sk_buff *skb, struct scratch *s, enum query_at at,
				       int eth, int verdict)
{
	__u32 len = packet_payload_len(&s->p);

	if (s->p.frag == FRAG_FIRST && len < DNS_QUESTION_MAX) {
		stat_add(RD_STAT_UNTURNED, 1);
		return TC_ACT_SHOT;
	}
	s->q.at = at;
	s->q.eth = eth;
	s->q.verdict = verdict;
	s->q.open = 0;
	s->q.listed = 0;
	s->q.others = 0;
	s->a.next = s->p.payload;
	s->a.stop = s->p.payload + len;
	s->a.step = skb->gso_size ? skb->gso_size : len;
	query_key(skb, s);
	forget();
	bpf_tail_call(skb, &stages, STAGE_QUERY);
	return verdict;
}

/* Loads the next message of the skb as far as the question goes; 0 where it is
 * no query with one question. */
static __always_inline int query_load(struct __sk_buff *skb, struct scratch *s)
{
	const __u8 *m = s->msg;
	__u32 off = s->a.next, len = s->a.stop - off;

	if (len > s->a.step)
		len = s->a.step;
	s->a.next = off + len;
	if (len > DNS_QUESTION_MAX)
		len = DNS_QUESTION_MAX;
	s->a.len = len;
	asm volatile("" : "+r"(len));
	if (len < DNS_MIN || len > DNS_QUESTION_MAX || bpf_skb_load_bytes(skb, off, s->msg, len))
		return 0;
	forget();
	/* QR and opcode are zero. */
	return !(m[2] & 0xf8) && get16(m + 4) == 1;
}

/* Whether the name of a message is one that is not to go on. A stranger's answer would
 * be learned by nobody, also where lookups are only observed. */
static __always_inline int query_listed(struct scratch *s)
{
	if (!s->a.target)
		return 0;
	if (matched_slot(s) & RD_SLOT_RESOLVE)
		return 1;
	if (s->q.at != AT_STRANGER)
		return 0;
	s->c.target = s->a.target;
	return chain_closed(&s->c);
}

/* What the match said of a message: one that is listed for this client is
 * remembered. */
static __always_inline void query_matched(struct scratch *s)
{
	s->q.open = 0;
	if (!query_listed(s)) {
		s->q.others++;
		return;
	}
	s->q.listed++;
	s->q.key.id = get16(s->msg);
	bpf_map_update_elem(&queries, &s->q.key, &s->q.asked, BPF_ANY);
}

/* Where the resolver is for this packet, in q.own; 0 where it has no address. A
 * link-local address is of the router itself, or would not come here. */
static __always_inline int query_own(struct __sk_buff *skb, struct scratch *s)
{
	__u32 ifindex = skb->ifindex;
	const struct rd_resolver *r;
	const __u32 *a;

	if (s->q.at != AT_LAN || (s->p.dst.b[0] == 0xfe && (s->p.dst.b[1] & 0xc0) == 0x80)) {
		addr_copy(&s->q.own, s->q.at == AT_WAN ? &s->p.src : &s->p.dst);
		return 1;
	}
	r = bpf_map_lookup_elem(&resolver, &ifindex);
	if (!r)
		return 0;
	addr_copy(&s->q.own, s->p.v6 ? &r->v6 : &r->v4);
	forget();
	a = (const __u32 *)&s->q.own;
	return !!(a[0] | a[1] | a[2] | a[3]);
}

/* Whether the resolver listens there. */
static __always_inline int query_heard(struct __sk_buff *skb, const struct rd_config *cfg,
				       const struct scratch *s)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 size;

	if (s->p.v6) {
		__builtin_memcpy(t.ipv6.saddr, &s->p.src, 16);
		__builtin_memcpy(t.ipv6.daddr, &s->q.own, 16);
		t.ipv6.sport = bpf_htons(s->p.sport);
		t.ipv6.dport = bpf_htons(cfg->resolver_port);
		size = sizeof(t.ipv6);
	} else {
		__builtin_memcpy(&t.ipv4.saddr, &s->p.src.b[12], 4);
		__builtin_memcpy(&t.ipv4.daddr, &s->q.own.b[12], 4);
		t.ipv4.sport = bpf_htons(s->p.sport);
		t.ipv4.dport = bpf_htons(cfg->resolver_port);
		size = sizeof(t.ipv4);
	}
	if (s->p.proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* Answers by SERVFAIL from the server that was asked. */
static __always_inline int query_refuse(struct __sk_buff *skb, struct scratch *s)
{
	__u32 off = s->p.payload + 2;
	__be16 old, flags;

	stat_add(RD_STAT_UNANSWERED, 1);
	if (skb->gso_size || bpf_skb_load_bytes(skb, off, &old, 2))
		return TC_ACT_SHOT;
	flags = (old & bpf_htons(0xff00)) | bpf_htons(DNS_QR | DNS_RA_SERVFAIL);
	if (bpf_l4_csum_replace(skb, sum_offset(&s->p), old, flags, BPF_F_MARK_MANGLED_0 | 2) ||
	    bpf_skb_store_bytes(skb, off, &flags, 2, 0) || !turn_round(skb, &s->p))
		return TC_ACT_SHOT;
	if (s->q.at == AT_LO)
		return TC_ACT_UNSPEC;
	if (s->q.eth && !swap_macs(skb))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, s->q.at == AT_LAN ? 0 : BPF_F_INGRESS);
}

/* Lets a packet that was about to leave by the WAN come in by lo. That has an
 * Ethernet header, and addresses of zeros. */
static __always_inline int query_to_lo(struct __sk_buff *skb, const struct scratch *s)
{
	__u8 zero[6] = {};
	__u16 type = skb->protocol;

	if (s->q.eth ? bpf_skb_store_bytes(skb, 0, zero, 6, 0)
		     : bpf_skb_change_head(skb, ETH_HLEN, 0) ||
			       bpf_skb_store_bytes(skb, 12, &type, 2, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(LO_IFINDEX, BPF_F_INGRESS);
}

static __always_inline int query_unturned(void)
{
	stat_add(RD_STAT_UNTURNED, 1);
	return TC_ACT_SHOT;
}

/* What becomes of the packet when all its messages are known. Several can be in
 * one skb by GRO: where only some are listed all are dropped, as their clients
 * ask again. So are fragments, whose rest would go on. */
static __always_inline int query_end(struct __sk_buff *skb, const struct rd_config *cfg,
				     struct scratch *s)
{
	if (!s->q.listed) {
		if (s->q.at >= AT_WAN && s->q.verdict == TC_ACT_SHOT)
			stat_add(RD_STAT_GUARDED, 1);
		return s->q.verdict;
	}
	mark(skb, cfg, RD_PATH_NONE);
	if (s->q.others || s->p.frag != FRAG_NONE || !query_own(skb, s))
		return query_unturned();
	forget();
	/* The resolver's answer would not find its way back to a stranger. */
	if (s->q.at == AT_STRANGER || !query_heard(skb, cfg, s))
		return query_refuse(skb, s);
	if (!turn_end(skb, &s->p, END_DST, &s->q.own, cfg->resolver_port))
		return query_unturned();
	stat_add(RD_STAT_QUERIES, s->q.listed);
	return s->q.at == AT_WAN ? query_to_lo(skb, s) : TC_ACT_UNSPEC;
}

/* The stage: ahead of each message, and behind the last one; between them the name is
 * matched. */
static __always_inline int query_stage(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();

	if (!cfg || !s)
		return TC_ACT_SHOT;
	if (!s->q.open && query_load(skb, s)) {
		s->q.open = 1;
		name_begin(s, LOOK_QUERY);
		bpf_tail_call(skb, &stages, STAGE_MATCH);
		return query_unturned();
	}
	if (s->q.open)
		query_matched(s);
	else
		s->q.others++;
	forget();
	if (s->a.next >= s->a.stop)
		return query_end(skb, cfg, s);
	bpf_tail_call(skb, &stages, STAGE_QUERY);
	return query_unturned(); /* more messages than tail calls reach */
}

/* Hands a client's TCP packet to port 53 to the stage below. */
static __always_inline int stream_begin(struct __sk_buff *skb, struct scratch *s, int verdict)
{
	if (s->p.frag != FRAG_NONE || verdict != TC_ACT_UNSPEC)
		return verdict;
	s->q.at = AT_LAN;
	s->q.verdict = verdict;
	query_key(skb, s);
	forget();
	bpf_tail_call(skb, &stages, STAGE_STREAM);
	return verdict;
}

static __always_inline int asked_same(const struct rd_asked *a, const struct rd_asked *b)
{
	return addr_same(&a->server, &b->server) && a->port == b->port;
}

/*
 * Whether the packet belongs to a connection that is turned. A SYN begins one
 * where the resolver listens: which names will be asked is not known yet, and it
 * passes on the queries of unlisted ones. A client's port that has a connection
 * to another server keeps that: to the resolver the two would be one.
 */
static __always_inline int stream_take(struct __sk_buff *skb, const struct rd_config *cfg,
				       struct scratch *s)
{
	struct rd_asked *a = bpf_map_lookup_elem(&streams, &s->q.key);
	int same = a && asked_same(a, &s->q.asked);

	if ((s->p.tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN) {
		if (same && a->seen != s->q.asked.seen)
			a->seen = s->q.asked.seen;
		return same;
	}
	if (a && !same && s->q.asked.seen - a->seen <= STREAM_IDLE)
		return 0;
	if (query_heard(skb, cfg, s))
		return !bpf_map_update_elem(&streams, &s->q.key, &s->q.asked, BPF_ANY);
	bpf_map_delete_elem(&streams, &s->q.key);
	return 0;
}

static __always_inline int stream_stage(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();

	if (!cfg || !s)
		return TC_ACT_SHOT;
	if (!query_own(skb, s))
		return s->q.verdict;
	forget();
	if (!stream_take(skb, cfg, s))
		return s->q.verdict;
	forget();
	mark(skb, cfg, RD_PATH_NONE);
	if (s->p.tcp_flags & TCP_SYN)
		stat_add(RD_STAT_STREAMS, 1);
	return turn_end(skb, &s->p, END_DST, &s->q.own, cfg->resolver_port) ? TC_ACT_UNSPEC
									     : TC_ACT_SHOT;
}

#endif
