/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hello: the server name in a TLS hello (RFC 8446 section 4.1.2, RFC 6066
 * section 3) of a client's connection to an address that is not known for it.
 * Where the name is listed and its destination does not go by the direct path,
 * the address becomes known for this client, and the connection is reset before
 * the name has left: the client's next one takes the path.
 *
 * A hello in several segments is followed in their order, also where the name
 * itself is cut. Not read: a hello of which a record holds the first part only,
 * one whose first 44 octets come in parts, one in which a length, an extension's
 * head or the name lies in three parts. Such a connection goes on as any other.
 */
#ifndef RD_HELLO_H
#define RD_HELLO_H

#include "bypass.h"

#define TLS_HANDSHAKE 0x16
#define TLS_CLIENT_HELLO 1
#define TLS_HEAD 44 /* to the length of the session's id */
#define EXT_SERVER_NAME 0
#define HELLO_AT 768 /* in msg: ahead of it is room for a tail, and for the name */
#define HELLO_MAX (RD_MSG_MAX - HELLO_AT)
#define HELLO_STEPS 12
#define HELLO_LETTERS 32
#define HELLO_TTL 3353 /* ticks, an hour */
#define HOST_MAX 253

enum hello_state {
	HELLO_CIPHERS = 1,
	HELLO_COMPRESSION,
	HELLO_EXTENSIONS,
	HELLO_EXTENSION,
	HELLO_LABELS, /* the name was found, and becomes that of a DNS message */
};

enum hello_walk {
	HELLO_ON,
	HELLO_NAME,
	HELLO_CUT, /* the rest is in the next segment */
	HELLO_BAD,
};

static __always_inline struct rd_hello *hello_slot(__u32 port)
{
	__u32 index = port & (HELLOS - 1);

	return bpf_map_lookup_elem(&hellos, &index);
}

/* Whether a segment may be the next one of a hello. */
static __always_inline int hello_next(__u32 port, __u32 seq)
{
	const struct rd_hello *h = hello_slot(port);

	return h && h->state && h->seq == seq;
}

/* Whether a packet holds a part of a hello. */
static __always_inline int hello_concerns(struct __sk_buff *skb, const struct packet *p)
{
	__u8 first;

	return p->dport == WEB_PORT && p->proto == IPPROTO_TCP && p->frag == FRAG_NONE &&
	       !(p->tcp_flags & (TCP_SYN | TCP_RST)) && packet_payload_len(p) &&
	       !bpf_skb_load_bytes(skb, p->payload, &first, 1) &&
	       (first == TLS_HANDSHAKE || hello_next(p->sport, p->seq));
}

/* Loads the packet's part of the hello behind what was kept of the last one. */
static __always_inline int hello_load(struct __sk_buff *skb, struct scratch *s, __u32 skip)
{
	__u32 len = packet_payload_len(&s->p);

	if (skip >= len)
		return 0;
	len -= skip;
	s->h.off = s->p.payload + skip;
	s->h.stop = HELLO_AT + len;
	/* Verifiers before 6.8 learn from a comparison with zero only that the
	 * length may still be anything: the least length has to come of a sum. */
	len--;
	asm volatile("" : "+r"(len));
	if (len >= HELLO_MAX)
		return 0;
	return !bpf_skb_load_bytes(skb, s->p.payload + skip, s->msg + HELLO_AT, len + 1);
}

/* The part in front of what has a length of its own. */
static __always_inline int hello_head(struct scratch *s)
{
	const __u8 *m = s->msg + HELLO_AT;
	__u32 record = get16(m + 3), id = m[TLS_HEAD - 1];

	if (s->h.stop < HELLO_AT + TLS_HEAD || m[0] != TLS_HANDSHAKE || m[1] != 3 || m[5] != TLS_CLIENT_HELLO ||
	    record + 5 < TLS_HEAD + id)
		return 0;
	s->h.pos = HELLO_AT + TLS_HEAD + id;
	s->h.left = record + 5 - TLS_HEAD - id;
	s->h.state = HELLO_CIPHERS;
	return 1;
}

/* An extension that is a server name, whole: a list of one host name. */
static __always_inline enum hello_walk hello_name(struct scratch *s, __u32 pos, __u32 size)
{
	const __u8 *m = &s->msg[pos & MSG_MASK];
	__u32 len = get16(m + 7);

	if (size < 5 || m[6] || len + 5 > size || !len || len > HOST_MAX)
		return HELLO_BAD;
	s->h.name = pos + 9;
	s->h.name_len = len;
	return HELLO_NAME;
}

static __always_inline enum hello_walk hello_step(struct scratch *s)
{
	__u32 pos = s->h.pos, state = s->h.state, need = 2, size;
	const __u8 *m = &s->msg[pos & MSG_MASK];

	if (state == HELLO_COMPRESSION)
		need = 1;
	else if (state == HELLO_EXTENSION)
		need = 4;
	if (s->h.left < need)
		return HELLO_BAD;
	if (pos + need > s->h.stop)
		return HELLO_CUT;
	if (state == HELLO_EXTENSION) {
		size = 4 + get16(m + 2);
		if (size > s->h.left)
			return HELLO_BAD;
		if (get16(m) == EXT_SERVER_NAME) {
			if (pos + size > s->h.stop)
				return HELLO_CUT;
			return hello_name(s, pos, size - 4);
		}
	} else if (state == HELLO_EXTENSIONS) {
		size = 2;
		s->h.state = HELLO_EXTENSION;
	} else {
		size = state == HELLO_COMPRESSION ? 1 + m[0] : 2 + get16(m);
		s->h.state = state + 1;
	}
	if (size > s->h.left)
		return HELLO_BAD;
	s->h.left -= size;
	s->h.pos = pos + size;
	return HELLO_ON;
}

static __always_inline enum hello_walk hello_walk(struct scratch *s)
{
	enum hello_walk w;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < HELLO_STEPS; i++) {
		forget();
		w = hello_step(s);
		if (w != HELLO_ON)
			return w;
	}
	return HELLO_ON;
}

/* Keeps what the next segment is to be read with. */
static __always_inline void hello_keep(struct __sk_buff *skb, struct scratch *s)
{
	__u32 pos = s->h.pos, stop = s->h.stop, carry = 0, at;
	struct rd_hello *h = hello_slot(s->p.sport);

	if (!h)
		return;
	h->state = 0;
	if (pos < stop) {
		carry = stop - pos;
		at = RD_HELLO_TAIL - carry;
		carry--; /* as in hello_load */
		asm volatile("" : "+r"(carry), "+r"(at));
		if (pos < HELLO_AT || carry >= RD_HELLO_TAIL || at > RD_HELLO_TAIL ||
		    bpf_skb_load_bytes(skb, s->h.off + pos - HELLO_AT, h->tail + at, carry + 1))
			return;
		carry++;
	}
	h->client = s->p.src;
	h->server = s->p.dst;
	h->port = s->p.sport;
	h->seq = s->p.seq + packet_payload_len(&s->p);
	h->skip = pos > stop ? pos - stop : 0;
	h->left = s->h.left;
	h->carry = carry;
	h->state = s->h.state;
}

static __always_inline int hello_same(const struct rd_hello *h, const struct packet *p)
{
	return h->state && h->port == p->sport && h->seq == p->seq &&
	       addr_same(&h->client, &p->src) && addr_same(&h->server, &p->dst);
}

/* Goes on with the next segment of a hello: HELLO_BAD where it is none, HELLO_CUT
 * where nothing in it matters. */
static __always_inline enum hello_walk hello_more(struct __sk_buff *skb, struct scratch *s)
{
	struct rd_hello *h = hello_slot(s->p.sport);
	__u32 len = packet_payload_len(&s->p);

	if (!h || !hello_same(h, &s->p))
		return HELLO_BAD;
	if (h->skip >= len) {
		h->skip -= len;
		h->seq += len;
		return HELLO_CUT;
	}
	s->h.state = h->state;
	s->h.left = h->left;
	s->h.pos = HELLO_AT - h->carry;
	h->state = 0;
	__builtin_memcpy(s->msg + HELLO_AT - RD_HELLO_TAIL, h->tail, RD_HELLO_TAIL);
	return hello_load(skb, s, h->skip) ? HELLO_ON : HELLO_BAD;
}

static __always_inline void labels_begin(struct scratch *s)
{
	__u32 n = s->h.name_len;

	__builtin_memset(s->label, 0, sizeof(s->label));
	s->msg[DNS_HEADER + 1 + (n & 0xff)] = 0;
	s->a.name_len = n + 2;
	s->a.len = 0; /* octets of the label so far */
	s->a.n = n;
	s->h.state = HELLO_LABELS;
	forget();
}

/* The name as a DNS message has it, from its end: each dot, and one in front,
 * becomes the length of what follows. */
static __always_inline enum walk hello_labels(struct scratch *s)
{
	__u32 i, c;
	int k;

#pragma clang loop unroll(disable)
	for (k = 0; k < HELLO_LETTERS; k++) {
		forget();
		i = s->a.n & 0xff;
		c = i ? s->msg[(s->h.name + i - 1) & MSG_MASK] : '.';
		if (c == '.') {
			c = s->a.len;
			if (c - 1 >= 63)
				return WALK_BAD;
			label_set(s, i);
			s->a.len = 0;
		} else {
			s->a.len++;
		}
		s->msg[DNS_HEADER + i] = c;
		if (!i)
			return WALK_DONE;
		s->a.n = i - 1;
	}
	return WALK_MORE;
}

static __always_inline int hello_stage(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	enum hello_walk w;

	if (!s)
		return TC_ACT_UNSPEC;
	w = hello_more(skb, s);
	forget();
	if (w == HELLO_BAD && hello_load(skb, s, 0) && hello_head(s))
		w = HELLO_ON;
	forget();
	if (w == HELLO_ON)
		bpf_tail_call(skb, &stages, STAGE_WALK);
	return s->q.verdict;
}

/* Looks for the name, and goes on with its letters. */
static __always_inline int hello_find(struct __sk_buff *skb, struct scratch *s)
{
	enum hello_walk w = hello_walk(s);

	forget();
	if (w == HELLO_CUT)
		hello_keep(skb, s);
	else if (w == HELLO_NAME)
		labels_begin(s);
	if (w == HELLO_ON || w == HELLO_NAME)
		bpf_tail_call(skb, &stages, STAGE_WALK);
	return s->q.verdict;
}

/* One of the stages that read a hello, a part of it at a time. */
static __always_inline int walk_stage(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();
	enum walk walk;

	if (!cfg || !s)
		return TC_ACT_UNSPEC;
	if (s->h.state != HELLO_LABELS)
		return hello_find(skb, s);
	walk = hello_labels(s);
	forget();
	if (walk == WALK_MORE)
		bpf_tail_call(skb, &stages, STAGE_WALK);
	if (walk != WALK_DONE)
		return s->q.verdict;
	stat_add(RD_STAT_HELLOS, 1);
	s->a.looking = LOOK_HELLO;
	match_begin(cfg, s);
	forget();
	bpf_tail_call(skb, &stages, STAGE_MATCH);
	return s->q.verdict;
}

/* Makes the address known to the client; 0 where there is no room. */
static __always_inline int named_learn(struct scratch *s, __u32 slot)
{
	s->a.now = now_ticks();
	s->a.verified = 0;
	s->key.client = s->c.client;
	s->event.ttl = HELLO_TTL;
	s->event.addresses = 1;
	addr_copy(&s->event.addr[0], &s->p.dst);
	known_fill(s, slot);
	s->known.origin = RD_ORIGIN_TLS;
	forget();
	return learn_address(s, HELLO_TTL);
}

/* A listed name was found. */
static __always_inline int named_stage(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	__u32 slot, *range;

	if (!s)
		return TC_ACT_UNSPEC;
	slot = matched_slot(s);
	s->key.bits = 128;
	addr_copy(&s->key.addr, &s->p.dst);
	forget();
	range = bpf_map_lookup_elem(&exempt, &s->key.bits);
	if (!slot || (range && *range) ||
	    (slot & (RD_SLOT_PATH | RD_SLOT_CLOSED)) == RD_PATH_DIRECT)
		return s->q.verdict;
	if (named_learn(s, slot)) {
		stat_add(RD_STAT_TLS, 1);
		tell(skb, s, RD_EV_TLS, 0);
		return reset_reply(skb, s->q.eth, &s->p);
	}
	stat_add(RD_STAT_FULL, 1);
	tell(skb, s, RD_EV_FULL, !!(slot & RD_SLOT_CLOSED));
	return slot & RD_SLOT_CLOSED ? reset_reply(skb, s->q.eth, &s->p) : s->q.verdict;
}

#endif
