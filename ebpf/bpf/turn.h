/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Turning a packet: other addresses and ports in place, with the checksums
 * brought in line by what has changed, so that one that was wrong stays wrong.
 *
 * Whoever turns a packet clears our bits of its mark: it leaves by no path now.
 */
#ifndef RD_TURN_H
#define RD_TURN_H

#include "packet.h"

/* The end of a packet that changes. */
enum end {
	END_SRC,
	END_DST,
};

static __always_inline __u32 sum_offset(const struct packet *p)
{
	return p->l4 + (p->proto == IPPROTO_UDP ? 6 : 16);
}

/* A UDP checksum of zero stands for none and stays (RFC 768). */
static __always_inline __u64 sum_flags(const struct packet *p)
{
	return p->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

static __always_inline int turn_v4(struct __sk_buff *skb, struct packet *p, enum end end,
				   const struct rd_addr *to)
{
	struct rd_addr *old = end == END_SRC ? &p->src : &p->dst;
	__be32 a, b;

	__builtin_memcpy(&a, &old->b[12], 4);
	__builtin_memcpy(&b, &to->b[12], 4);
	return !bpf_l3_csum_replace(skb, p->l3 + 10, a, b, 4) &&
	       !bpf_l4_csum_replace(skb, sum_offset(p), a, b,
				    BPF_F_PSEUDO_HDR | sum_flags(p) | 4) &&
	       !bpf_skb_store_bytes(skb, p->l3 + (end == END_SRC ? 12 : 16), &b, 4,
				    BPF_F_INVALIDATE_HASH);
}

/* With BPF_F_PSEUDO_HDR the kernel takes the change out of the sum that a device
 * gave it of the whole packet; IPv6 has no header checksum that would, so that
 * the store must put it in. */
static __always_inline int turn_v6(struct __sk_buff *skb, struct packet *p, enum end end,
				   const struct rd_addr *to)
{
	struct rd_addr *old = end == END_SRC ? &p->src : &p->dst;
	__s64 diff = bpf_csum_diff((__be32 *)old, 16, (__be32 *)to, 16, 0);

	return !bpf_l4_csum_replace(skb, sum_offset(p), 0, diff,
				    BPF_F_PSEUDO_HDR | sum_flags(p)) &&
	       !bpf_skb_store_bytes(skb, p->l3 + (end == END_SRC ? 8 : 24), to, 16,
				    BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

static __always_inline int turn_port(struct __sk_buff *skb, struct packet *p, enum end end,
				     __u16 to)
{
	__be16 a = bpf_htons(end == END_SRC ? p->sport : p->dport), b = bpf_htons(to);

	return !bpf_l4_csum_replace(skb, sum_offset(p), a, b, sum_flags(p) | 2) &&
	       !bpf_skb_store_bytes(skb, p->l4 + (end == END_SRC ? 0 : 2), &b, 2, 0);
}

/* Gives one end another address and port; 0 where it cannot be done, the packet
 * is then good for nothing. */
static __always_inline int turn_end(struct __sk_buff *skb, struct packet *p, enum end end,
				    const struct rd_addr *to, __u16 port)
{
	forget();
	if (p->v6 ? !turn_v6(skb, p, end, to) : !turn_v4(skb, p, end, to))
		return 0;
	forget();
	return turn_port(skb, p, end, port);
}

/* Swaps addresses and ports, which changes no checksum. */
static __always_inline int turn_round(struct __sk_buff *skb, const struct packet *p)
{
	struct rd_addr v6[2];
	__be32 v4[2];
	__be16 ports[2] = {bpf_htons(p->dport), bpf_htons(p->sport)};

	if (bpf_skb_store_bytes(skb, p->l4, ports, 4, BPF_F_INVALIDATE_HASH))
		return 0;
	if (p->v6) {
		v6[0] = p->dst;
		v6[1] = p->src;
		return !bpf_skb_store_bytes(skb, p->l3 + 8, v6, 32, 0);
	}
	__builtin_memcpy(&v4[0], &p->dst.b[12], 4);
	__builtin_memcpy(&v4[1], &p->src.b[12], 4);
	return !bpf_skb_store_bytes(skb, p->l3 + 12, v4, 8, 0);
}

static __always_inline int swap_macs(struct __sk_buff *skb)
{
	__u8 mac[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, mac, 12))
		return 0;
	__builtin_memcpy(swapped, mac + 6, 6);
	__builtin_memcpy(swapped + 6, mac, 6);
	return !bpf_skb_store_bytes(skb, 0, swapped, 12, 0);
}

#endif
