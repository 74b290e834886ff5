/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * learn: makes the addresses in a DNS answer to a listed name known before the
 * answer reaches who asked.
 *
 * Fail closed: an answer of a listed name that cannot be read whole, or whose
 * addresses find no room, is withheld where the destination must never use the
 * WAN; the client would otherwise connect to an address that is not steered.
 */
#ifndef RD_LEARN_H
#define RD_LEARN_H

#include "choose.h"
#include "dns.h"
#include "known.h"
#include "packet.h"

#define MESSAGE_STEPS 16 /* datagrams that are passed over in one go */

static __always_inline void tell(struct __sk_buff *skb, struct scratch *s, __u8 kind, __u8 withheld)
{
	struct rd_event *e = &s->event;
	__u32 size = __builtin_offsetof(struct rd_event, addr) +
		     (e->addresses & (2 * RD_RECORDS_MAX - 1)) * sizeof(struct rd_addr);

	e->client = s->c.client;
	e->rule = s->a.rule;
	e->ifindex = skb->ifindex;
	e->target = s->a.target;
	e->kind = kind;
	e->flags = (s->a.full ? RD_K_FULL : 0) | (s->a.verified ? RD_K_GLOBAL : 0);
	e->withheld = withheld;
	e->name_len = s->a.name_len;
	__builtin_memcpy(e->name, &s->msg[DNS_HEADER], sizeof(e->name));
	if (size > sizeof(*e))
		size = sizeof(*e);
	if (bpf_ringbuf_output(&events, e, size, 0))
		stat_add(RD_STAT_LOST_EVENTS, 1);
}

/* What becomes of a packet that may reach the client: an answer to a query of
 * the router's own that was turned round at the WAN comes in there. */
static __always_inline int done(const struct scratch *s)
{
	return s->a.back ? bpf_redirect(s->a.back, BPF_F_INGRESS) : TC_ACT_UNSPEC;
}

/*
 * The verdict on an answer that may reach the client, unless another lies behind
 * it: GRO can put several datagrams of one resolver into one skb. Where there
 * are more than tail calls reach, all are withheld; the client asks again.
 */
static __always_inline int pass(struct __sk_buff *skb, const struct scratch *s)
{
	if (s->a.next >= s->a.stop)
		return done(s);
	bpf_tail_call(skb, &stages, STAGE_ANSWER);
	stat_add(RD_STAT_WITHHELD, 1);
	return TC_ACT_SHOT;
}

/* Whether a client takes addresses from the answers to such a question. */
static __always_inline int asks_addresses(const struct scratch *s)
{
	__u32 t = s->a.qtype;

	return t == TYPE_A || t == TYPE_AAAA || t == TYPE_HTTPS || t == TYPE_SVCB || t == TYPE_ANY;
}

/* Whether the answer says that it is not whole. Most clients ask again over TCP;
 * small ones (lwIP, musl before 1.2.4) take the addresses that are there, so that
 * these are learned as far as they can be read. It is never withheld for what
 * cannot. */
static __always_inline int truncated(const struct scratch *s) { return s->msg[2] & 2; }

static __always_inline int withhold(struct __sk_buff *skb, struct scratch *s, __u8 kind)
{
	int shot;

	if (!asks_addresses(s) || !s->a.target || (truncated(s) && kind == RD_EV_UNPARSED))
		return pass(skb, s);
	shot = !!(matched_slot(s) & RD_SLOT_CLOSED);
	stat_add(kind == RD_EV_FULL ? RD_STAT_FULL : RD_STAT_UNPARSED, 1);
	if (shot)
		stat_add(RD_STAT_WITHHELD, 1);
	tell(skb, s, kind, shot);
	return shot ? TC_ACT_SHOT : pass(skb, s);
}

/* Header fields that matter; 0 where this is no answer that carries anything. */
static __always_inline int dns_header(struct scratch *s)
{
	const __u8 *m = s->msg;
	__u32 an = get16(m + 6), ns = get16(m + 8), ar = get16(m + 10);

	/* QR, opcode QUERY, no error, one question. */
	if ((m[2] & 0xf8) != 0x80 || (m[3] & 0x0f) || get16(m + 4) != 1)
		return 0;
	s->a.answers = an;
	s->a.from = an + ns;
	s->a.records = an + ns + ar;
	return 1;
}

static __always_inline int message_load(struct __sk_buff *skb, struct scratch *s, __u32 off)
{
	__u32 len = s->a.len;

	s->a.whole = s->p.frag == FRAG_NONE && len <= RD_MSG_MAX;
	if (len > RD_MSG_MAX)
		len = RD_MSG_MAX;
	s->a.len = len;
	asm volatile("" : "+r"(len));
	if (len < DNS_MIN || len > RD_MSG_MAX)
		return 0;
	return !bpf_skb_load_bytes(skb, off, s->msg, len);
}

/* Finds and loads the next answer of the skb. */
static __always_inline enum walk message_next(struct __sk_buff *skb, struct scratch *s)
{
	__u32 off, len;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < MESSAGE_STEPS; i++) {
		forget();
		off = s->a.next;
		if (off >= s->a.stop)
			return WALK_BAD;
		len = s->a.stop - off;
		if (len > s->a.step)
			len = s->a.step;
		s->a.len = len;
		s->a.next = off + len;
		if (bpf_skb_load_bytes(skb, off, s->msg, DNS_HEADER) || !dns_header(s))
			continue;
		return message_load(skb, s, off) ? WALK_DONE : WALK_MORE;
	}
	return WALK_MORE;
}

/* What the walk over the records begins with. */
static __always_inline void records_begin(struct scratch *s)
{
	s->event.addresses = 0;
	s->event.ttl = 0;
	s->a.n = 0;
	s->a.nfound = 0;
	s->a.taken = 0;
	s->a.nsvcb = 0;
	s->a.off = DNS_HEADER + s->a.name_len + 4;
	s->a.qtype = get16(&s->msg[(DNS_HEADER + s->a.name_len) & MSG_MASK]);
	if (s->a.qtype != TYPE_SVCB && s->a.qtype != TYPE_HTTPS) {
		s->a.records = s->a.answers;
		s->a.from = ~0U;
	}
	if (truncated(s) && s->a.records > RD_RECORDS_MAX)
		s->a.records = RD_RECORDS_MAX;
	forget();
}

/* What follows when it is known whether the name is listed. */
static __always_inline int learn_matched(struct __sk_buff *skb, const struct rd_config *cfg,
					 struct scratch *s)
{
	if (!s->a.target && !(cfg->flags & RD_F_SHARED))
		return pass(skb, s);
	if (s->a.target)
		stat_add(RD_STAT_MATCHED, 1);
	if (truncated(s)) {
		if (!s->a.target)
			return pass(skb, s);
		stat_add(RD_STAT_TRUNCATED, 1);
	}
	records_begin(s);
	if (s->a.whole && s->a.records <= RD_RECORDS_MAX)
		bpf_tail_call(skb, &stages, STAGE_RECORDS);
	return withhold(skb, s, RD_EV_UNPARSED);
}

/* Second stage: find an answer. */
static __always_inline int learn_answer(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	enum walk walk;

	if (!s)
		return TC_ACT_UNSPEC;
	walk = message_next(skb, s);
	forget();
	if (walk == WALK_BAD)
		return done(s);
	if (walk == WALK_MORE)
		return pass(skb, s);
	name_begin(s, LOOK_ANSWER);
	bpf_tail_call(skb, &stages, STAGE_MATCH);
	return skb->gso_size ? TC_ACT_SHOT : TC_ACT_UNSPEC; /* as in pass */
}

/* What follows on a name that is listed or not. */
static __always_inline int match_end(struct __sk_buff *skb, const struct rd_config *cfg,
				     struct scratch *s)
{
	if (s->a.looking == LOOK_QUERY) {
		bpf_tail_call(skb, &stages, STAGE_QUERY);
		return TC_ACT_SHOT; /* only behind many others in one skb */
	}
	if (s->a.looking == LOOK_HELLO) {
		if (s->a.target)
			bpf_tail_call(skb, &stages, STAGE_NAMED);
		return s->q.verdict;
	}
	return learn_matched(skb, cfg, s);
}

/* Finds labels and then letters of a name; WALK_BAD where it is not a sound one. */
static __always_inline enum walk match_walk(const struct rd_config *cfg, struct scratch *s)
{
	enum walk walk;

	if (!s->a.labelled) {
		walk = dns_labels(s);
		forget();
		if (walk != WALK_DONE)
			return walk;
		if (s->a.looking == LOOK_ANSWER)
			stat_add(RD_STAT_ANSWERS, 1);
		match_begin(cfg, s);
	}
	walk = dns_match(s);
	forget();
	return walk;
}

/* The stage that says whether a name is listed: of an answer, the third, of a query or
 * a hello. Long names go on in one more of it. */
static __always_inline int learn_match(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();
	enum walk walk;

	if (!cfg || !s)
		return TC_ACT_UNSPEC;
	walk = match_walk(cfg, s);
	if (walk == WALK_MORE) {
		bpf_tail_call(skb, &stages, STAGE_MATCH);
		return TC_ACT_SHOT; /* as in match_end */
	}
	if (walk == WALK_BAD) {
		if (s->a.looking == LOOK_ANSWER)
			return pass(skb, s);
		s->a.target = 0;
		forget();
	}
	return match_end(skb, cfg, s);
}

/* Marks what is known of some addresses of an unlisted name, and leaves in the
 * event what was not marked before. */
static __always_inline enum walk learn_shared(struct scratch *s)
{
	struct rd_known *known;
	__u32 n;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < FOUND_STEPS; i++) {
		forget();
		n = s->a.taken;
		if (n >= s->a.nfound)
			return WALK_DONE;
		s->a.taken = n + 1;
		n &= RD_RECORDS_MAX - 1;
		addr_copy(&s->key.addr, &s->event.addr[n]);
		known = bpf_map_lookup_elem(&addresses, &s->key.addr);
		if (!known || known->flags & RD_K_SHARED)
			continue;
		known->flags |= RD_K_SHARED;
		n = s->event.addresses;
		addr_copy(&s->event.addr[n & (RD_RECORDS_MAX - 1)], &s->key.addr);
		s->event.addresses = n + 1;
	}
	return WALK_MORE;
}

/* What follows on the addresses that were collected. */
enum collected {
	COLLECTED_PASS, /* nothing more is to be done */
	COLLECTED_MORE, /* there are more than are dealt with in one go */
	COLLECTED_FULL, /* one found no room */
	COLLECTED_NOT,	/* they have not been collected */
};

static __always_inline enum collected shared_collected(struct __sk_buff *skb, struct scratch *s)
{
	if (learn_shared(s) == WALK_MORE)
		return COLLECTED_MORE;
	if (s->event.addresses) {
		stat_add(RD_STAT_SHARED, s->event.addresses);
		tell(skb, s, RD_EV_SHARED, 0);
	}
	return COLLECTED_PASS;
}

/* Makes the addresses known. */
static __always_inline enum collected learn_collected(struct __sk_buff *skb, struct scratch *s)
{
	if (!s->a.nfound)
		return COLLECTED_PASS;
	if (!s->a.target)
		return shared_collected(skb, s);
	if (learn_found(s) == WALK_MORE)
		return COLLECTED_MORE;
	if (s->a.no_room)
		return COLLECTED_FULL;
	forget();
	if (s->event.addresses && (!told_lately(s) || s->a.news))
		tell(skb, s, RD_EV_LEARNED, 0);
	return COLLECTED_PASS;
}

/* Fourth stage: where the addresses are. */
static __always_inline int learn_records(struct __sk_buff *skb)
{
	enum collected collected = COLLECTED_NOT;
	struct scratch *s = scratch_get();
	enum walk walk;

	if (!s)
		return TC_ACT_UNSPEC;
	walk = dns_records(s);
	forget();
	if (walk == WALK_BAD && truncated(s)) {
		walk = WALK_DONE; /* with the records that are whole */
		s->a.nsvcb = 0;
		s->a.records = 0;
	}
	if (walk == WALK_DONE && !s->a.nsvcb)
		collected = learn_collected(skb, s);
	forget();
	if (collected == COLLECTED_PASS)
		return pass(skb, s);
	if (collected == COLLECTED_FULL)
		return withhold(skb, s, RD_EV_FULL);
	if (walk == WALK_MORE || collected == COLLECTED_MORE) {
		bpf_tail_call(skb, &stages, STAGE_RECORDS);
	} else if (walk == WALK_DONE) {
		s->a.state = S_NEXT;
		bpf_tail_call(skb, &stages, STAGE_HINTS);
	}
	return withhold(skb, s, RD_EV_UNPARSED);
}

/* Fifth stage, where there are SVCB or HTTPS records: their address hints. */
static __always_inline int learn_hints(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	enum walk walk;

	if (!s)
		return TC_ACT_UNSPEC;
	walk = dns_hints(s);
	forget();
	if (walk == WALK_MORE)
		bpf_tail_call(skb, &stages, STAGE_HINTS);
	else if (walk == WALK_DONE)
		bpf_tail_call(skb, &stages, STAGE_RECORDS); /* which has none left */
	return withhold(skb, s, RD_EV_UNPARSED);
}

/* Whether a packet may hold a DNS answer, read in place as far as it is of a
 * common shape; every packet to a client pays for this. */
static __always_inline int maybe_dns(struct __sk_buff *skb, int eth)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0;
	__u16 type = skb->protocol;
	__u8 *ip = data + off;

	if (eth && data + ETH_HLEN <= end)
		type = *(__u16 *)(data + ETH_HLEN - 2);
	if (type == bpf_htons(ETH_P_IP) && data + off + 22 <= end) {
		if (ip[9] != IPPROTO_UDP)
			return 0;
		return ip[0] != 0x45 || (ip[20] == 0 && ip[21] == DNS_PORT);
	}
	if (type == bpf_htons(ETH_P_IPV6) && data + off + 42 <= end) {
		if (ip[6] == IPPROTO_UDP)
			return ip[40] == 0 && ip[41] == DNS_PORT;
		return ip[6] != IPPROTO_TCP;
	}
	return 1;
}

/* Whether a packet of the router's own is from a port; its headers are of the
 * common shape. */
static __always_inline int from_port(struct __sk_buff *skb, int eth, __u16 port)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0, at = 20;
	__u8 *ip = data + off, proto;

	if (data + off + 28 > end)
		return 0;
	proto = ip[9];
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (data + off + 42 > end)
			return 0;
		proto = ip[6];
		at = 40;
	}
	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
		return 0;
	return (__u16)(ip[at] << 8 | ip[at + 1]) == port;
}

/* Begins with the answers of a packet that s->p describes, on its way to the
 * client. A first fragment that ends before the question does is none that a
 * resolver sends. */
static __always_inline int learn_begin(struct __sk_buff *skb, int eth, struct scratch *s)
{
	const struct packet *p = &s->p;
	__u32 len = packet_payload_len(p);

	if (p->frag == FRAG_FIRST && len < DNS_QUESTION_MAX) {
		stat_add(RD_STAT_WITHHELD, 1);
		return TC_ACT_SHOT;
	}
	s->a.next = p->payload;
	s->a.stop = p->payload + len;
	s->a.step = skb->gso_size ? skb->gso_size : len;
	if (skb->ifindex == LO_IFINDEX) {
		s->c.client = RD_CLIENT_SELF;
		__builtin_memset(&s->c.client_addr, 0, sizeof(s->c.client_addr));
	} else {
		s->c.client = client_id(skb, eth, 0);
		addr_copy(&s->c.client_addr, &p->dst);
	}
	forget();
	bpf_tail_call(skb, &stages, STAGE_ANSWER);
	return done(s);
}

/* First stage: is it an answer. */
static __always_inline int learn_packet(struct __sk_buff *skb, int eth, struct scratch *s)
{
	const struct packet *p = &s->p;

	if (p->proto != IPPROTO_UDP || p->frag == FRAG_LATER || p->sport != DNS_PORT)
		return TC_ACT_UNSPEC;
	s->a.verified = 0;
	s->a.back = 0;
	return learn_begin(skb, eth, s);
}

#endif
