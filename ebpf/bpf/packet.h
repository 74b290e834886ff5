/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading a packet. Nothing here keeps a packet pointer: headers are copied out
 * by bpf_skb_load_bytes, which also reads the parts of an skb that are not linear.
 */
#ifndef RD_PACKET_H
#define RD_PACKET_H

#include "scratch.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>

#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60
#define EXT_HEADERS_MAX 6

#define VLAN_TAGS_MAX 2
#define ETH_P_8021Q_ 0x8100
#define ETH_P_8021AD_ 0x88a8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define LO_IFINDEX 1

#define DNS_PORT 53

enum rd_frag {
	FRAG_NONE,
	FRAG_FIRST, /* more follow, ports are here */
	FRAG_LATER, /* no ports */
};

/* Offset of the IP header and whether it is IPv6; 0 where it is neither. A tag
 * that the kernel has moved into the skb's metadata is not in the way here. */
static __always_inline int packet_l3(struct __sk_buff *skb, int eth, __u32 *l3, __u8 *v6)
{
	__u16 type = skb->protocol, tag[2];
	__u32 off = 0;
	int i;

	if (eth) {
		off = ETH_HLEN;
		if (bpf_skb_load_bytes(skb, ETH_HLEN - 2, &type, 2))
			return 0;
	}
	for (i = 0; i < VLAN_TAGS_MAX; i++) {
		if (type != bpf_htons(ETH_P_8021Q_) && type != bpf_htons(ETH_P_8021AD_))
			break;
		if (bpf_skb_load_bytes(skb, off, tag, 4))
			return 0;
		type = tag[1];
		off += 4;
	}
	*l3 = off;
	*v6 = type == bpf_htons(ETH_P_IPV6);
	return *v6 || type == bpf_htons(ETH_P_IP);
}

static __always_inline void addr_from_v4(struct rd_addr *a, const void *v4)
{
	__builtin_memset(a, 0, 10);
	a->b[10] = 0xff;
	a->b[11] = 0xff;
	__builtin_memcpy(&a->b[12], v4, 4);
}

/* Transport ports, TCP numbers and flags. Needs l4, proto, frag. */
static __always_inline int packet_l4(struct __sk_buff *skb, struct packet *p)
{
	__u16 ports[2];
	struct {
		__be32 seq, ack;
		__u8 doff, flags;
	} tcp;

	p->payload = p->l4;
	if (p->frag == FRAG_LATER || (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP))
		return 1;
	if (bpf_skb_load_bytes(skb, p->l4, ports, 4))
		return 0;
	p->sport = bpf_ntohs(ports[0]);
	p->dport = bpf_ntohs(ports[1]);
	p->payload = p->l4 + 8;
	if (p->proto == IPPROTO_UDP)
		return 1;
	if (bpf_skb_load_bytes(skb, p->l4 + 4, &tcp, 10))
		return 0;
	p->seq = bpf_ntohl(tcp.seq);
	p->ack = bpf_ntohl(tcp.ack);
	p->tcp_flags = tcp.flags;
	p->payload = p->l4 + (tcp.doff >> 4) * 4;
	return 1;
}

/* A length of 0 is a jumbogram's, or that of a GRO packet over 64 KiB. */
static __always_inline void packet_end(struct __sk_buff *skb, struct packet *p, __u32 head,
				       __u32 len)
{
	p->end = p->l3 + head + len;
	if (!len || p->end > skb->len)
		p->end = skb->len;
}

static __always_inline int packet_v4(struct __sk_buff *skb, struct packet *p)
{
	struct {
		__u8 vihl, tos;
		__be16 len, id, frag;
		__u8 ttl, proto;
		__u16 sum;
		__be32 src, dst;
	} h;
	__u16 frag;

	if (bpf_skb_load_bytes(skb, p->l3, &h, sizeof(h)) || h.vihl < 0x45 || h.vihl > 0x4f)
		return 0;
	addr_from_v4(&p->src, &h.src);
	addr_from_v4(&p->dst, &h.dst);
	p->proto = h.proto;
	p->l4 = p->l3 + (h.vihl & 15) * 4;
	packet_end(skb, p, 0, bpf_ntohs(h.len));
	p->id = h.id;
	frag = bpf_ntohs(h.frag);
	if (frag & 0x1fff)
		p->frag = FRAG_LATER;
	else if (frag & 0x2000)
		p->frag = FRAG_FIRST;
	return 1;
}

static __always_inline int ext_header(__u8 next)
{
	return next == NEXTHDR_HOP || next == NEXTHDR_ROUTING || next == NEXTHDR_DEST ||
	       next == NEXTHDR_AUTH || next == NEXTHDR_FRAGMENT;
}

/* Walks the extension headers (RFC 8200 section 4). One that is not known ends
 * the walk: the packet then has that header's number as its protocol. */
static __always_inline int packet_v6_ext(struct __sk_buff *skb, struct packet *p)
{
	struct {
		__u8 next, len;
		__be16 frag;
		__be32 id;
	} ext;
	__u8 kind;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < EXT_HEADERS_MAX; i++) {
		forget();
		kind = p->proto;
		if (!ext_header(kind) || p->frag == FRAG_LATER)
			return 1;
		if (bpf_skb_load_bytes(skb, p->l4, &ext, 8))
			return 0;
		p->proto = ext.next;
		if (kind == NEXTHDR_AUTH) {
			p->l4 += (ext.len + 2) * 4;
		} else if (kind != NEXTHDR_FRAGMENT) {
			p->l4 += (ext.len + 1) * 8;
		} else {
			p->l4 += 8;
			p->id = ext.id;
			if (ext.frag & bpf_htons(0xfff8))
				p->frag = FRAG_LATER;
			else if (ext.frag & bpf_htons(1))
				p->frag = FRAG_FIRST;
		}
	}
	return 1;
}

static __always_inline int packet_v6(struct __sk_buff *skb, struct packet *p)
{
	struct {
		__be32 flow;
		__be16 len;
		__u8 next, hops;
		struct rd_addr src, dst;
	} h;

	if (bpf_skb_load_bytes(skb, p->l3, &h, sizeof(h)))
		return 0;
	addr_copy(&p->src, &h.src);
	addr_copy(&p->dst, &h.dst);
	packet_end(skb, p, 40, bpf_ntohs(h.len));
	p->proto = h.next;
	p->l4 = p->l3 + 40;
	return packet_v6_ext(skb, p);
}

/*
 * The far address of a packet: its destination, or its source on the way to the
 * client. Every packet pays for this, so the common shapes are read in place.
 */
static __always_inline int packet_far(struct __sk_buff *skb, int eth, int want_src,
				      struct rd_addr *far)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0, l3;
	__u16 type = skb->protocol;
	__u8 v4[4], v6;

	if (eth) {
		if (data + ETH_HLEN > end)
			return 0;
		type = *(__u16 *)(data + ETH_HLEN - 2);
	}
	if (type == bpf_htons(ETH_P_IP) && data + off + 20 <= end) {
		addr_from_v4(far, data + off + (want_src ? 12 : 16));
		return 1;
	}
	if (type == bpf_htons(ETH_P_IPV6) && data + off + 40 <= end) {
		__builtin_memcpy(far, data + off + (want_src ? 8 : 24), 16);
		return 1;
	}
	if (!packet_l3(skb, eth, &l3, &v6))
		return 0;
	if (v6)
		return !bpf_skb_load_bytes(skb, l3 + (want_src ? 8 : 24), far, 16);
	if (bpf_skb_load_bytes(skb, l3 + (want_src ? 12 : 16), v4, 4))
		return 0;
	addr_from_v4(far, v4);
	return 1;
}

/* Reads the whole packet; 0 where it is not a sound IP packet. */
static __always_inline int packet_read(struct __sk_buff *skb, int eth, struct packet *p)
{
	int ok;

	__builtin_memset(p, 0, sizeof(*p));
	if (!packet_l3(skb, eth, &p->l3, &p->v6))
		return 0;
	forget();
	ok = p->v6 ? packet_v6(skb, p) : packet_v4(skb, p);
	forget();
	return ok && packet_l4(skb, p);
}

/* Octets that the transport carries, as far as the skb has them. */
static __always_inline __u32 packet_payload_len(const struct packet *p)
{
	return p->end > p->payload ? p->end - p->payload : 0;
}

static __always_inline __u32 packet_len(const struct packet *p) { return p->end - p->l3; }

/* The client's identity: its MAC address, at offset off, or the interface. */
static __always_inline __u64 client_id(struct __sk_buff *skb, int eth, __u32 off)
{
	__u8 m[6];

	if (!eth || bpf_skb_load_bytes(skb, off, m, 6))
		return RD_CLIENT_IFINDEX | skb->ifindex;
	return RD_CLIENT_MAC | (__u64)m[0] << 40 | (__u64)m[1] << 32 | (__u64)m[2] << 24 |
	       (__u64)m[3] << 16 | (__u64)m[4] << 8 | m[5];
}

#endif
