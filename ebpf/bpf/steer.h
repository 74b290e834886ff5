/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * steer: gives a client's packet to a listed address the mark of its path.
 *
 * Addresses come first and flows second: an address stays known for as long as
 * a flow uses it, so a packet to an unknown address belongs to no flow of ours
 * and costs one lookup (two where networks are listed).
 *
 * Fail closed: once an address is known, no branch below lets the packet go on
 * unmarked except towards the direct path, and towards that only where the
 * destination is not a closed one.
 */
#ifndef RD_STEER_H
#define RD_STEER_H

#include "bypass.h"
#include "health.h"
#include "hello.h"
#include "query.h"
#include "reset.h"
#include "watch.h"

/* Flows of protocols that have no SYN count as over, in ticks since the last
 * packet: what a NAT gives them, and how long one that was ended is refused. */
#define FLOW_IDLE 120
#define FLOW_REFUSED 8

static __always_inline void flow_key(struct scratch *s, int rx)
{
	const struct packet *p = &s->p;
	struct rd_flow_key *k = &s->flow_key;

	addr_copy(&k->client, rx ? &p->dst : &p->src);
	addr_copy(&k->server, rx ? &p->src : &p->dst);
	k->client_port = rx ? p->dport : p->sport;
	k->server_port = rx ? p->sport : p->dport;
	k->proto = p->proto;
}

static __always_inline __u32 segments(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

static __always_inline int is_syn(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether a packet begins a new flow in the place of f: a SYN that is no
 * repetition, or that may take another path now; a datagram after a pause. */
static __always_inline int flow_over(const struct rd_flow *f, const struct scratch *s, __u32 now)
{
	int moved = f->path != (s->c.slot & RD_SLOT_PATH);

	if (s->p.proto == IPPROTO_TCP)
		return is_syn(&s->p) && (moved || f->flags & ~RD_FL_SYN);
	if (f->flags & RD_FL_END)
		return now - f->last_tx > FLOW_REFUSED;
	return moved && now - f->last_tx > FLOW_IDLE &&
	       (!f->last_rx || now - f->last_rx > FLOW_IDLE);
}

/*
 * The flow of a client's packet, made anew where it is the first of a
 * connection or where the slot has moved on since a SYN. NULL where a drained
 * address has no such flow, or the map has no room.
 */
static __always_inline struct rd_flow *flow_get(struct scratch *s, __u64 ns, __u32 ifindex)
{
	struct rd_flow *f = bpf_map_lookup_elem(&flows, &s->flow_key), *fresh = &s->flow;
	__u32 now = (__u32)(ns >> 30);

	if (f && !flow_over(f, s, now))
		return f;
	if (s->c.drain)
		return NULL;
	__builtin_memset(fresh, 0, sizeof(*fresh));
	fresh->client_id = s->c.client;
	fresh->created = now;
	fresh->last_tx = now;
	fresh->dest = s->c.dest;
	fresh->path = s->c.slot & RD_SLOT_PATH;
	fresh->ifindex = ifindex;
	if (is_syn(&s->p))
		fresh->syn_ns = ns;
	bpf_map_update_elem(&flows, &s->flow_key, fresh, BPF_ANY);
	return bpf_map_lookup_elem(&flows, &s->flow_key);
}

static __always_inline void flow_tx(struct rd_flow *f, const struct packet *p, __u32 packets,
				    __u64 ns)
{
	__u8 flags = f->flags, tcp = p->tcp_flags;
	__u32 signs = flow_asks(f, p, fine(ns));

	if (!f->tx_packets && (p->proto != IPPROTO_TCP || is_syn(p)))
		signs |= SIGN_BEGUN;
	f->tx_packets += packets;
	f->tx_bytes += packet_len(p);
	f->last_tx = (__u32)(ns >> 30);
	if (packet_payload_len(p))
		flags |= RD_FL_HELLO;
	/* All zero where it is not TCP. */
	if (tcp & TCP_ACK)
		f->ack = p->ack;
	if (tcp & TCP_SYN)
		flags |= RD_FL_SYN;
	if (tcp & TCP_FIN)
		flags |= RD_FL_FIN;
	if (tcp & TCP_RST)
		flags |= RD_FL_RST_CLIENT;
	if (flags != f->flags)
		f->flags = flags;
	health_add(f, signs);
}

static __always_inline int shut(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				const struct packet *p)
{
	stat_add(RD_STAT_BLOCKED, 1);
	if (p->proto == IPPROTO_TCP && p->frag == FRAG_NONE)
		return reset_reply(skb, eth, p);
	mark(skb, cfg, RD_PATH_BLOCK);
	return TC_ACT_UNSPEC;
}

static __always_inline int take_path(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				     struct scratch *s, __u8 path)
{
	if (path == RD_PATH_BLOCK || path == RD_PATH_NONE ||
	    (path == RD_PATH_DIRECT && s->c.slot & RD_SLOT_CLOSED))
		return shut(skb, eth, cfg, &s->p);
	count(s->c.dest, path, 0, segments(skb), packet_len(&s->p));
	/* Direct is left to the system's own choice, other programs' marks included. */
	if (path == RD_PATH_DIRECT)
		return TC_ACT_UNSPEC;
	stat_add(RD_STAT_STEERED, 1);
	mark(skb, cfg, path);
	return TC_ACT_UNSPEC;
}

#define FRAG_V6 256 /* in the place of a protocol, which has 8 bits */

/* What the fragments of a packet share. Those of IPv6 need not name one protocol:
 * the first is read past the headers behind its fragment header (RFC 8200 section
 * 4.5). */
static __always_inline void frag_key(struct scratch *s)
{
	struct rd_frag_key *k = &s->frag_key;

	addr_copy(&k->src, &s->p.src);
	addr_copy(&k->dst, &s->p.dst);
	k->id = s->p.id;
	k->proto = s->p.v6 ? FRAG_V6 : s->p.proto;
}

/* Fragments behind the first have no ports: they follow it, or the slot. */
static __always_inline int steer_later(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				       struct scratch *s)
{
	__u32 *first;

	frag_key(s);
	first = bpf_map_lookup_elem(&fragments, &s->frag_key);
	if (!first && s->c.drain)
		return TC_ACT_UNSPEC;
	return take_path(skb, eth, cfg, s, first ? *first : s->c.slot & RD_SLOT_PATH);
}

static __always_inline int steer_hit(struct __sk_buff *skb, int eth, const struct rd_config *cfg,
				     struct scratch *s, __u64 ns)
{
	__u32 path = s->c.slot & RD_SLOT_PATH;
	struct rd_flow *f;

	if (s->p.frag == FRAG_LATER)
		return steer_later(skb, eth, cfg, s);
	flow_key(s, 0);
	forget();
	f = flow_get(s, ns, skb->ifindex);
	if (f) {
		s->c.dest = f->dest;
		path = RD_PATH_BLOCK;
		if (!(f->flags & RD_FL_END)) {
			path = f->path;
			flow_tx(f, &s->p, segments(skb), ns);
		}
	} else if (s->c.drain) {
		return TC_ACT_UNSPEC;
	}
	if (s->p.frag == FRAG_FIRST) {
		frag_key(s);
		bpf_map_update_elem(&fragments, &s->frag_key, &path, BPF_ANY);
	}
	forget();
	return take_path(skb, eth, cfg, s, path);
}

/* What the packet is, beside its address: it may be turned, refused or read. */
static __always_inline int steer_special(struct __sk_buff *skb, int eth,
					 const struct rd_config *cfg, struct scratch *s, int verdict)
{
	const struct packet *p = &s->p;

	if (verdict != TC_ACT_UNSPEC)
		return verdict;
	s->q.eth = eth;
	s->q.verdict = verdict;
	if (p->dport == DNS_PORT && cfg->flags & RD_F_RESOLVE) {
		if (p->proto == IPPROTO_UDP)
			return query_begin(skb, s, AT_LAN, eth, verdict);
		return stream_begin(skb, s, verdict);
	}
	forget();
	if (cfg->flags & RD_F_LOCAL_DNS && bypass_concerns(skb, p))
		bpf_tail_call(skb, &stages, STAGE_BYPASS);
	else if (cfg->flags & RD_F_TLS && !s->c.dest && hello_concerns(skb, p))
		bpf_tail_call(skb, &stages, STAGE_HELLO);
	return verdict;
}

static __always_inline int steer_packet(struct __sk_buff *skb, int eth)
{
	const struct rd_config *cfg = config_get();
	struct rd_addr far __attribute__((aligned(8)));
	int verdict = TC_ACT_UNSPEC;
	struct scratch *s;
	__u64 hit, ns;

	if (!cfg || !packet_far(skb, eth, 0, &far))
		return TC_ACT_UNSPEC;
	hit = listed(cfg, &far);
	if (!hit && !watched(skb, eth, cfg))
		return TC_ACT_UNSPEC;
	s = scratch_get();
	/* Listed for somebody. A packet that cannot be read is none that a
	 * router forwards either: its header is broken or cut off. */
	if (!s || !packet_read(skb, eth, &s->p))
		return hit ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	addr_copy(&s->c.client_addr, &s->p.src);
	s->c.client = client_id(skb, eth, 6);
	s->c.dest = 0;
	if (hit) {
		ns = bpf_ktime_get_ns();
		addr_copy(&s->c.server, &s->p.dst);
		choose(cfg, s, hit, (__u32)(ns >> 30));
		if (s->c.dest)
			verdict = steer_hit(skb, eth, cfg, s, ns);
	}
	forget();
	return steer_special(skb, eth, cfg, s, verdict);
}

/*
 * account: what comes back to the client, for the flow's figures. It changes no
 * packet.
 */
static __always_inline void flow_rx(struct rd_flow *f, const struct packet *p, __u32 packets)
{
	__u8 flags = f->flags, tcp = p->tcp_flags;
	__u32 signs;

	f->rx_packets += packets;
	f->rx_bytes += packet_len(p);
	f->last_rx = now_ticks();
	if (f->asked)
		f->asked = 0;
	if (packet_payload_len(p))
		flags |= RD_FL_DATA;
	if ((tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
		flags |= RD_FL_SYNACK;
		/* 2^10 ns are a microsecond here; at the most 71 minutes. */
		if (!f->rtt_us && f->syn_ns)
			f->rtt_us = (__u32)((bpf_ktime_get_ns() - f->syn_ns) >> 10);
	}
	if (tcp & TCP_RST)
		flags |= RD_FL_RST_SERVER;
	if (tcp & TCP_FIN)
		flags |= RD_FL_FIN;
	if (flags == f->flags)
		return;
	signs = flow_came_to(f->flags, flags & ~f->flags);
	f->flags = flags;
	health_add(f, signs);
}

static __always_inline int from_wan(struct __sk_buff *skb, const struct rd_config *cfg)
{
	__u32 in = skb->ingress_ifindex;

	return in == cfg->wan[0] || in == cfg->wan[1] || in == cfg->wan[2] || in == cfg->wan[3];
}

/* Whether a packet to a client may belong to a flow of ours: not the router's
 * own, nor a reset of ours on its way back through the device that it came from,
 * nor the direct path's where no destination uses that. */
static __always_inline int accountable(struct __sk_buff *skb, int eth, const struct rd_config *cfg)
{
	struct rd_addr far __attribute__((aligned(8)));

	if (!skb->ingress_ifindex || skb->ingress_ifindex == skb->ifindex ||
	    (!(cfg->flags & RD_F_TRACK_DIRECT) && from_wan(skb, cfg)))
		return 0;
	return packet_far(skb, eth, 1, &far) && listed(cfg, &far);
}

static __always_inline void account(struct __sk_buff *skb, struct scratch *s)
{
	struct rd_flow *f;

	if (s->p.frag == FRAG_LATER)
		return;
	flow_key(s, 1);
	forget();
	f = bpf_map_lookup_elem(&flows, &s->flow_key);
	if (!f)
		return;
	flow_rx(f, &s->p, segments(skb));
	count(f->dest, f->path, 1, segments(skb), packet_len(&s->p));
}

#endif
