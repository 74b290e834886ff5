/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * back: what routerd's resolver sends to a client whose query was turned to it
 * comes from the server that the client asked. Its answers are learned as any,
 * but for every client: nobody else can have made them.
 */
#ifndef RD_BACK_H
#define RD_BACK_H

#include "learn.h"
#include "turn.h"

/* Hands a packet from the resolver's port, which s->p describes, to the stage. */
static __always_inline int back_begin(struct __sk_buff *skb, struct scratch *s, int eth)
{
	s->q.eth = eth;
	addr_copy(&s->q.key.client, &s->p.dst);
	s->q.key.port = s->p.dport;
	s->q.key.id = 0;
	s->q.key.proto = s->p.proto;
	forget();
	bpf_tail_call(skb, &stages, STAGE_BACK);
	return TC_ACT_UNSPEC;
}

static __always_inline struct rd_asked *back_asked(struct __sk_buff *skb, struct scratch *s)
{
	__be16 id;

	if (s->p.proto == IPPROTO_TCP)
		return bpf_map_lookup_elem(&streams, &s->q.key);
	if (bpf_skb_load_bytes(skb, s->p.payload, &id, 2))
		return NULL;
	s->q.key.id = bpf_ntohs(id);
	forget();
	return bpf_map_lookup_elem(&queries, &s->q.key);
}

/* A packet that was not asked for by way of another server goes on as it is. */
static __always_inline int back_stage(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	const struct rd_asked *a;

	if (!s)
		return TC_ACT_UNSPEC;
	a = back_asked(skb, s);
	if (!a)
		return TC_ACT_UNSPEC;
	s->q.asked = *a;
	forget();
	if (!turn_end(skb, &s->p, END_SRC, &s->q.asked.server, s->q.asked.port))
		return TC_ACT_SHOT;
	if (s->p.proto == IPPROTO_TCP)
		return TC_ACT_UNSPEC;
	s->a.verified = 1;
	s->a.back = s->q.asked.ifindex;
	if (s->a.back && bpf_skb_store_bytes(skb, 0, s->q.asked.mac, 6, 0))
		return TC_ACT_SHOT;
	return learn_begin(skb, s->q.eth, s);
}

#endif
