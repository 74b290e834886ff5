/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers a client's TCP packet by a reset from the address it spoke to
 * (RFC 9293 section 3.5.2), by turning the packet round on its device.
 */
#ifndef RD_RESET_H
#define RD_RESET_H

#include "turn.h"

struct tcp_header {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff, flags;
	__be16 window, sum, urgent;
};

struct v4_header {
	__u8 vihl, tos;
	__be16 len, id, frag;
	__u8 ttl, proto;
	__be16 sum;
	__be32 src, dst;
};

struct v6_header {
	__be32 flow;
	__be16 len;
	__u8 next, hops;
	struct rd_addr src, dst;
};

/* Sum of 16-bit words in one's complement; its inverse is what headers hold. */
static __always_inline __u16 csum_fold(__s64 sum)
{
	__u64 s = sum;

	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + ((s >> 16) & 0xffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return s;
}

static __always_inline void reset_tcp(const struct packet *p, struct tcp_header *t)
{
	__u32 len = packet_payload_len(p) + !!(p->tcp_flags & TCP_SYN) +
		    !!(p->tcp_flags & TCP_FIN);

	__builtin_memset(t, 0, sizeof(*t));
	t->sport = bpf_htons(p->dport);
	t->dport = bpf_htons(p->sport);
	t->doff = 5 << 4;
	if (p->tcp_flags & TCP_ACK) {
		t->flags = TCP_RST;
		t->seq = bpf_htonl(p->ack);
	} else {
		t->flags = TCP_RST | TCP_ACK;
		t->ack = bpf_htonl(p->seq + len);
	}
}

/*
 * Whether the device is yet to sum the segment (CHECKSUM_PARTIAL, which GRO
 * leaves behind too): the field at off then holds the pseudo header's sum only,
 * and changes to other octets leave it alone.
 */
static __always_inline int sum_pending(struct __sk_buff *skb, __u32 off)
{
	__u16 zero = 0, after = 0;

	return !bpf_skb_store_bytes(skb, off, &zero, 2, 0) &&
	       !bpf_l4_csum_replace(skb, off, 0, 1, 0) &&
	       !bpf_skb_load_bytes(skb, off, &after, 2) && !after;
}

/* Writes the TCP header at off; sum is the pseudo header's. */
static __always_inline int reset_store(struct __sk_buff *skb, __u32 off, struct tcp_header *t,
				       __s64 sum)
{
	if (sum_pending(skb, off + __builtin_offsetof(struct tcp_header, sum)))
		t->sum = csum_fold(sum);
	else
		t->sum = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)t, sizeof(*t), sum));
	return !bpf_skb_store_bytes(skb, off, t, sizeof(*t), BPF_F_INVALIDATE_HASH);
}

static __always_inline int reset_v4(struct __sk_buff *skb, const struct packet *p,
				    struct tcp_header *t)
{
	struct v4_header h = {};
	struct {
		__be32 src, dst;
		__u8 zero, proto;
		__be16 len;
	} pseudo = {};

	h.vihl = 0x45;
	h.len = bpf_htons(40);
	h.frag = bpf_htons(0x4000);
	h.ttl = 64;
	h.proto = IPPROTO_TCP;
	__builtin_memcpy(&h.src, &p->dst.b[12], 4);
	__builtin_memcpy(&h.dst, &p->src.b[12], 4);
	h.sum = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&h, sizeof(h), 0));
	pseudo.src = h.src;
	pseudo.dst = h.dst;
	pseudo.proto = IPPROTO_TCP;
	pseudo.len = bpf_htons(20);
	return !bpf_skb_change_tail(skb, p->l3 + 40, 0) &&
	       !bpf_skb_store_bytes(skb, p->l3, &h, sizeof(h), 0) &&
	       reset_store(skb, p->l3 + 20, t,
			   bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0));
}

static __always_inline int reset_v6(struct __sk_buff *skb, const struct packet *p,
				    struct tcp_header *t)
{
	struct v6_header h = {};
	struct {
		struct rd_addr src, dst;
		__be32 len, next;
	} pseudo = {};

	h.flow = bpf_htonl(6u << 28);
	h.len = bpf_htons(20);
	h.next = IPPROTO_TCP;
	h.hops = 64;
	h.src = p->dst;
	h.dst = p->src;
	pseudo.src = h.src;
	pseudo.dst = h.dst;
	pseudo.len = bpf_htonl(20);
	pseudo.next = bpf_htonl(IPPROTO_TCP);
	return !bpf_skb_change_tail(skb, p->l3 + 60, 0) &&
	       !bpf_skb_store_bytes(skb, p->l3, &h, sizeof(h), 0) &&
	       reset_store(skb, p->l3 + 40, t,
			   bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0));
}

/*
 * TC verdict: redirected, or dropped where the packet cannot be turned round
 * (itself a reset, too short, IP options under a checksum that hardware was to
 * fill in): the client then sends it again.
 */
static __always_inline int reset_reply(struct __sk_buff *skb, int eth, const struct packet *p)
{
	struct tcp_header t;

	if (p->tcp_flags & TCP_RST)
		return TC_ACT_SHOT;
	reset_tcp(p, &t);
	if (p->v6 ? !reset_v6(skb, p, &t) : !reset_v4(skb, p, &t))
		return TC_ACT_SHOT;
	if (eth && !swap_macs(skb))
		return TC_ACT_SHOT;
	stat_add(RD_STAT_RESET, 1);
	return bpf_redirect(skb->ifindex, 0);
}

#endif
