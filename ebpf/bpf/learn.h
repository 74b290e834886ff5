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
#include "packet.h"

#define DNS_PORT 53
#define LO_IFINDEX 1

static __always_inline void known_fill(struct rd_known *k, const struct scratch *s, __u32 ttl)
{
	__u32 now = s->now;

	__builtin_memset(k, 0, sizeof(*k));
	k->rule = s->rule;
	k->seen = now;
	k->used = now;
	k->expires = now + ttl;
	k->target = s->target;
	k->flags = s->full ? RD_K_FULL : 0;
	k->origin = RD_ORIGIN_DNS;
}

/* Puts one address into the maps for a client; 0 where there is no room. The
 * grant comes first: an address without it would be nobody's. */
static __always_inline int learn_address(struct scratch *s, const struct rd_addr *addr, __u32 ttl)
{
	struct rd_grant_key gkey;
	struct rd_known fresh, *known;
	__u32 now = s->now;

	/* RFC 2181 section 8: a TTL with the highest bit set is zero. */
	if (ttl > 0x7fffffff)
		ttl = 0;
	known_fill(&fresh, s, ttl);
	gkey.addr = *addr;
	gkey.client = s->client;
	if (bpf_map_update_elem(&grants, &gkey, &fresh, BPF_ANY))
		return 0;
	known = bpf_map_lookup_elem(&addresses, addr);
	if (!known)
		return !bpf_map_update_elem(&addresses, addr, &fresh, BPF_ANY);
	known->seen = now;
	known->used = now;
	if (known->expires < now + ttl)
		known->expires = now + ttl;
	if (!(known->flags & RD_K_GLOBAL)) {
		known->rule = s->rule;
		known->target = s->target;
		known->flags = fresh.flags | (known->flags & RD_K_SHARED);
	}
	return 1;
}

static __always_inline void found_addr(const struct scratch *s, const struct found *f,
				       struct rd_addr *a)
{
	const __u8 *p = &s->msg[f->off & MSG_MASK];

	if (f->size == 4)
		addr_from_v4(a, p);
	else
		__builtin_memcpy(a, p, 16);
}

static __always_inline void learn_found(struct scratch *s)
{
	__u32 n, ttl;
	struct rd_prefix key;
	int i;

	s->now = now_ticks();
	s->full_room = 0;
	s->refused = 0;
	s->event.addresses = 0;
	s->event.ttl = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < RD_RECORDS_MAX; i++) {
		forget();
		if (i >= s->nfound)
			break;
		key.bits = 128;
		found_addr(s, &s->found[i & (RD_RECORDS_MAX - 1)], &key.addr);
		if (bpf_map_lookup_elem(&exempt, &key)) {
			s->refused++;
			continue;
		}
		ttl = s->found[i & (RD_RECORDS_MAX - 1)].ttl;
		if (!learn_address(s, &key.addr, ttl)) {
			s->full_room = 1;
			break;
		}
		n = s->event.addresses;
		s->event.addr[n & (RD_RECORDS_MAX - 1)] = key.addr;
		s->event.addresses = n + 1;
		if (!s->event.ttl || ttl < s->event.ttl)
			s->event.ttl = ttl;
	}
	stat_add(RD_STAT_LEARNED, s->event.addresses);
	stat_add(RD_STAT_REFUSED, s->refused);
}

static __always_inline int closed(__u16 target)
{
	__u32 index = target, *slot;
	const struct rd_target *t = bpf_map_lookup_elem(&targets, &index);

	if (!t)
		return 0;
	index = t->dest;
	slot = bpf_map_lookup_elem(&slots, &index);
	return slot && *slot & RD_SLOT_CLOSED;
}

static __always_inline void tell(struct __sk_buff *skb, struct scratch *s, __u8 kind, __u8 withheld)
{
	struct rd_event *e = &s->event;
	__u32 size = __builtin_offsetof(struct rd_event, addr) +
		     (e->addresses & (2 * RD_RECORDS_MAX - 1)) * sizeof(struct rd_addr);

	e->client = s->client;
	e->rule = s->rule;
	e->ifindex = skb->ifindex;
	e->target = s->target;
	e->kind = kind;
	e->flags = s->full ? RD_K_FULL : 0;
	e->withheld = withheld;
	e->name_len = s->name_len;
	__builtin_memcpy(e->name, &s->msg[DNS_HEADER], sizeof(e->name));
	if (size > sizeof(*e))
		size = sizeof(*e);
	if (bpf_ringbuf_output(&events, e, size, 0))
		stat_add(RD_STAT_LOST_EVENTS, 1);
}

static __always_inline int withhold(struct __sk_buff *skb, struct scratch *s, __u8 kind)
{
	int shot = closed(s->target);

	stat_add(kind == RD_EV_FULL ? RD_STAT_FULL : RD_STAT_UNPARSED, 1);
	if (shot)
		stat_add(RD_STAT_WITHHELD, 1);
	tell(skb, s, kind, shot);
	return shot ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* Header fields that matter; 0 where the answer carries nothing to learn. */
static __always_inline int dns_header(struct scratch *s)
{
	const __u8 *m = s->msg;
	__u32 an = get16(m + 6), ns = get16(m + 8), ar = get16(m + 10);

	/* QR, opcode QUERY, no error, one question. */
	if ((m[2] & 0xf8) != 0x80 || (m[3] & 0x0f) || get16(m + 4) != 1)
		return 0;
	s->answers = an;
	s->from = an + ns;
	s->records = an + ns + ar;
	return 1;
}

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* Second stage: what name was asked for, and where the addresses are. */
static __always_inline int learn_answer(struct __sk_buff *skb)
{
	const struct rd_config *cfg = config_get();
	struct scratch *s = scratch_get();

	if (!cfg || !s || !dns_header(s) || !dns_labels(s))
		return TC_ACT_UNSPEC;
	stat_add(RD_STAT_ANSWERS, 1);
	dns_match(s, cfg->seed);
	if (!s->target)
		return TC_ACT_UNSPEC;
	stat_add(RD_STAT_MATCHED, 1);
	s->event.addresses = 0;
	s->event.ttl = 0;
	/* The client asks again over TCP. */
	if (s->msg[2] & 2) {
		stat_add(RD_STAT_TRUNCATED, 1);
		return TC_ACT_UNSPEC;
	}
	s->qtype = get16(&s->msg[(DNS_HEADER + s->name_len) & MSG_MASK]);
	if (s->qtype != TYPE_SVCB && s->qtype != TYPE_HTTPS) {
		s->records = s->answers;
		s->from = ~0U;
	}
	if (!s->whole || s->records > RD_RECORDS_MAX || !dns_walk(s))
		return withhold(skb, s, RD_EV_UNPARSED);
	if (!s->nfound)
		return TC_ACT_UNSPEC;
	bpf_tail_call(skb, &stages, STAGE_ADDRESSES);
	return withhold(skb, s, RD_EV_UNPARSED);
}

/* Third stage: make the addresses known. */
static __always_inline int learn_addresses(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s)
		return TC_ACT_UNSPEC;
	learn_found(s);
	if (s->full_room)
		return withhold(skb, s, RD_EV_FULL);
	if (s->event.addresses)
		tell(skb, s, RD_EV_LEARNED, 0);
	return TC_ACT_UNSPEC;
}

/* Whether a packet may hold a DNS answer, read in place; every packet to a
 * client pays for this. */
static __always_inline int maybe_dns(struct __sk_buff *skb, int eth)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0;
	__u16 type = skb->protocol;

	if (eth && data + ETH_HLEN <= end)
		type = *(__u16 *)(data + ETH_HLEN - 2);
	if (type == bpf_htons(ETH_P_IP) && data + off + 10 <= end)
		return *(__u8 *)(data + off + 9) == IPPROTO_UDP;
	if (type == bpf_htons(ETH_P_IPV6) && data + off + 7 <= end)
		return *(__u8 *)(data + off + 6) != IPPROTO_TCP;
	return 1;
}

/* First stage: is it an answer, and from where to whom. */
static __always_inline int learn_packet(struct __sk_buff *skb, int eth)
{
	struct scratch *s = scratch_get();
	struct packet p;
	__u32 len, off;

	if (!s || !packet_read(skb, eth, &p) || p.proto != IPPROTO_UDP || p.frag == FRAG_LATER ||
	    p.sport != DNS_PORT)
		return TC_ACT_UNSPEC;
	len = packet_payload_len(skb, &p);
	s->whole = p.frag == FRAG_NONE && len <= RD_MSG_MAX;
	off = p.payload;
	if (len > RD_MSG_MAX)
		len = RD_MSG_MAX;
	asm volatile("" : "+r"(len));
	if (len < DNS_MIN || len > RD_MSG_MAX)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, off, s->msg, len))
		return TC_ACT_UNSPEC;
	s->len = len;
	s->client = skb->ifindex == LO_IFINDEX ? RD_CLIENT_SELF : client_id(skb, eth, 0);
	bpf_tail_call(skb, &stages, STAGE_ANSWER);
	return TC_ACT_UNSPEC;
}

#endif
