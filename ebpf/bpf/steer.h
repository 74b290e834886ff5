/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * steer: gives a client's packet to a listed address the mark of its path.
 *
 * Addresses come first and flows second: an address stays known for as long as
 * a flow uses it, so a packet to an unknown address belongs to no flow of ours
 * and costs one lookup (two where networks are listed).
 *
 * Fail closed: once an address is known, no branch below lets the packet go on
 * unmarked except towards the direct path.
 */
#ifndef RD_STEER_H
#define RD_STEER_H

#include "choose.h"
#include "packet.h"
#include "reset.h"

static __always_inline void flow_key(const struct packet *p, int rx, struct rd_flow_key *k)
{
	__builtin_memset(k, 0, sizeof(*k));
	k->client = rx ? p->dst : p->src;
	k->server = rx ? p->src : p->dst;
	k->client_port = rx ? p->dport : p->sport;
	k->server_port = rx ? p->sport : p->dport;
	k->proto = p->proto;
}

static __always_inline __u32 segments(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/*
 * The flow of a client's packet, made anew where it is the first of a
 * connection or where the slot has moved on since a SYN. NULL where a drained
 * address has no such flow, or the map has no room.
 */
static __always_inline struct rd_flow *flow_get(const struct packet *p, struct rd_flow_key *key,
						const struct choice *c, __u32 now, __u64 client,
						__u32 ifindex)
{
	struct rd_flow *f = bpf_map_lookup_elem(&flows, key), fresh = {};
	__u8 path = c->slot & RD_SLOT_PATH;
	int syn = p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	int stay = f && !(syn && (f->path != path || f->flags & ~RD_FL_SYN));

	if (stay)
		return f;
	if (c->drain && (syn || !f))
		return NULL;
	fresh.client_id = client;
	fresh.created = now;
	fresh.last_tx = now;
	fresh.dest = c->dest;
	fresh.path = path;
	fresh.ifindex = ifindex;
	if (syn)
		fresh.syn_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&flows, key, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline void flow_tx(struct rd_flow *f, const struct packet *p, __u32 payload,
				    __u32 packets, __u32 bytes, __u32 now)
{
	__u8 flags = f->flags;

	f->tx_packets += packets;
	f->tx_bytes += bytes;
	f->last_tx = now;
	if (payload)
		flags |= RD_FL_HELLO;
	if (p->proto == IPPROTO_TCP) {
		if (p->tcp_flags & TCP_ACK)
			f->ack = p->ack;
		if (p->tcp_flags & TCP_SYN)
			flags |= RD_FL_SYN;
		if (p->tcp_flags & TCP_FIN)
			flags |= RD_FL_FIN;
		if (p->tcp_flags & TCP_RST)
			flags |= RD_FL_RST_CLIENT;
	}
	if (flags != f->flags)
		f->flags = flags;
}

static __always_inline int shut(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				const struct packet *p)
{
	stat_add(RD_STAT_BLOCKED, 1);
	if (p->proto == IPPROTO_TCP && p->frag == FRAG_NONE)
		return reset_reply(skb, eth, p);
	skb->mark = (skb->mark & ~cfg->mark_mask) | RD_PATH_BLOCK << (cfg->mark_shift & 31);
	return TC_ACT_UNSPEC;
}

static __always_inline int take_path(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				     const struct packet *p, __u16 dest, __u8 path)
{
	if (path == RD_PATH_BLOCK || path == RD_PATH_NONE)
		return shut(skb, eth, cfg, p);
	count(dest, path, 0, segments(skb), p->end - p->l3);
	/* Direct is left to the system's own choice, other programs' marks included. */
	if (path == RD_PATH_DIRECT)
		return TC_ACT_UNSPEC;
	stat_add(RD_STAT_STEERED, 1);
	skb->mark = (skb->mark & ~cfg->mark_mask) |
		    ((__u32)path << (cfg->mark_shift & 31) & cfg->mark_mask);
	return TC_ACT_UNSPEC;
}

/* Fragments behind the first have no ports: they follow it, or the slot. */
static __always_inline void frag_key(const struct packet *p, struct rd_frag_key *k)
{
	__builtin_memset(k, 0, sizeof(*k));
	k->src = p->src;
	k->dst = p->dst;
	k->id = p->id;
	k->proto = p->proto;
}

static __always_inline int steer_hit(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				     struct packet *p, struct choice *c, __u64 client)
{
	struct rd_flow_key key;
	struct rd_frag_key fkey;
	struct rd_flow *f;
	__u32 now = now_ticks(), path = c->slot & RD_SLOT_PATH, *first;

	if (c->known && c->known->used != now)
		c->known->used = now;
	if (p->frag != FRAG_NONE)
		frag_key(p, &fkey);
	if (p->frag == FRAG_LATER) {
		first = bpf_map_lookup_elem(&fragments, &fkey);
		return take_path(skb, eth, cfg, p, c->dest, first ? *first : path);
	}
	flow_key(p, 0, &key);
	f = flow_get(p, &key, c, now, client, skb->ifindex);
	if (f) {
		if (f->flags & RD_FL_END)
			return shut(skb, eth, cfg, p);
		path = f->path;
		flow_tx(f, p, packet_payload_len(skb, p), segments(skb), p->end - p->l3, now);
	} else if (c->drain) {
		return TC_ACT_UNSPEC;
	}
	if (p->frag == FRAG_FIRST)
		bpf_map_update_elem(&fragments, &fkey, &path, BPF_ANY);
	return take_path(skb, eth, cfg, p, f ? f->dest : c->dest, path);
}

static __always_inline int steer_packet(struct __sk_buff *skb, int eth)
{
	const struct rd_config *cfg = config_get();
	struct rd_addr far;
	struct choice c;
	struct packet p;
	__u64 client;
	__u32 bits = 128;

	if (!cfg || !packet_far(skb, eth, 0, &far))
		return TC_ACT_UNSPEC;
	if (!bpf_map_lookup_elem(&addresses, &far)) {
		struct rd_prefix net = {.bits = bits, .addr = far};

		if (!(cfg->flags & RD_F_NETWORKS) || !bpf_map_lookup_elem(&networks, &net))
			return TC_ACT_UNSPEC;
	}
	/* Listed for somebody. A packet that cannot be read is none that a
	 * router forwards either: its header is broken or cut off. */
	if (!packet_read(skb, eth, &p))
		return TC_ACT_SHOT;
	client = client_id(skb, eth, 6);
	choose(cfg, &p.dst, &p.src, client, &c);
	if (!c.dest)
		return TC_ACT_UNSPEC;
	return steer_hit(skb, eth, cfg, &p, &c, client);
}

/*
 * account: what comes back to the client, for the flow's figures. It changes no
 * packet.
 */
static __always_inline void flow_rx(struct rd_flow *f, const struct packet *p, __u32 payload,
				    __u32 packets, __u32 bytes)
{
	__u8 flags = f->flags;

	f->rx_packets += packets;
	f->rx_bytes += bytes;
	f->last_rx = now_ticks();
	if (payload)
		flags |= RD_FL_DATA;
	if (p->proto == IPPROTO_TCP) {
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
			flags |= RD_FL_SYNACK;
			/* 2^10 ns are a microsecond here; at the most 71 minutes. */
			if (!f->rtt_us && f->syn_ns)
				f->rtt_us = (__u32)((bpf_ktime_get_ns() - f->syn_ns) >> 10);
		}
		if (p->tcp_flags & TCP_RST)
			flags |= RD_FL_RST_SERVER;
		if (p->tcp_flags & TCP_FIN)
			flags |= RD_FL_FIN;
	}
	if (flags != f->flags)
		f->flags = flags;
}

static __always_inline int from_wan(struct __sk_buff *skb, const struct rd_config *cfg)
{
	__u32 in = skb->ingress_ifindex;

	return in == cfg->wan[0] || in == cfg->wan[1] || in == cfg->wan[2] || in == cfg->wan[3];
}

static __always_inline void account(struct __sk_buff *skb, int eth, const struct rd_config *cfg)
{
	struct rd_flow_key key;
	struct rd_addr far;
	struct rd_flow *f;
	struct packet p;

	/* The router's own packets to clients, and the direct path's where no
	 * destination uses it, belong to no flow of ours. */
	if (!skb->ingress_ifindex || (!(cfg->flags & RD_F_TRACK_DIRECT) && from_wan(skb, cfg)))
		return;
	if (!packet_far(skb, eth, 1, &far))
		return;
	if (!bpf_map_lookup_elem(&addresses, &far)) {
		struct rd_prefix net = {.bits = 128, .addr = far};

		if (!(cfg->flags & RD_F_NETWORKS) || !bpf_map_lookup_elem(&networks, &net))
			return;
	}
	if (!packet_read(skb, eth, &p) || p.frag == FRAG_LATER)
		return;
	flow_key(&p, 1, &key);
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f)
		return;
	flow_rx(f, &p, packet_payload_len(skb, &p), segments(skb), p.end - p.l3);
	count(f->dest, f->path, 1, segments(skb), p.end - p.l3);
}

#endif
