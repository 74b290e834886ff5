/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * known: puts the addresses that an answer or a hello gave into the maps.
 */
#ifndef RD_KNOWN_H
#define RD_KNOWN_H

#include "choose.h"

#define RECENT_TICKS_SHIFT 3 /* 8 ticks, about as many seconds */
#define FOUND_STEPS 8 /* addresses that are dealt with in one go */

static __always_inline void known_fill(struct scratch *s, __u32 slot)
{
	struct rd_known *k = &s->known;

	k->rule = s->a.rule;
	k->seen = s->a.now;
	k->used = s->a.now;
	k->target = s->a.target;
	k->flags = (s->a.full ? RD_K_FULL : 0) | (slot & RD_SLOT_CLOSED ? RD_K_SHUT : 0);
	k->origin = s->a.verified ? RD_ORIGIN_RESOLVER : RD_ORIGIN_DNS;
}

/* Whether an address stays what it is known as. Names may share it: where it is for a
 * destination that must never use the WAN, it is not given to one that may. */
static __always_inline int stays(const struct scratch *s, const struct rd_known *k)
{
	return !(s->known.flags & RD_K_SHUT) && k->target != s->known.target &&
	       (k->flags & (RD_K_SHUT | RD_K_DRAIN)) == RD_K_SHUT;
}

/* Puts the address in s->key into the grants of the client; 0 where there is no
 * room. */
static __always_inline int learn_grant(struct scratch *s)
{
	struct rd_known *grant = bpf_map_lookup_elem(&grants, &s->key.addr);

	if (grant && ((grant->rule == s->known.rule && grant->target == s->known.target &&
		       grant->flags == s->known.flags) ||
		      stays(s, grant))) {
		grant->seen = s->a.now;
		grant->used = s->a.now;
		grant->expires = s->known.expires;
		grant->origin = s->known.origin;
		return 1;
	}
	s->a.news = 1;
	return !bpf_map_update_elem(&grants, &s->key.addr, &s->known, BPF_ANY);
}

/* Puts the address in s->key into the maps for the client; 0 where there is no
 * room. The grant comes first: an address without it would be nobody's. */
static __always_inline int learn_address(struct scratch *s, __u32 ttl)
{
	__u32 expires = s->a.now + ttl;
	struct rd_known *known;

	s->known.expires = expires;
	s->known.flags &= ~RD_K_GLOBAL;
	if (!learn_grant(s))
		return 0;
	forget();
	if (s->a.verified)
		s->known.flags |= RD_K_GLOBAL;
	known = bpf_map_lookup_elem(&addresses, &s->key.addr);
	if (!known) {
		s->a.news = 1;
		return !bpf_map_update_elem(&addresses, &s->key.addr, &s->known, BPF_ANY);
	}
	known->seen = s->a.now;
	known->used = s->a.now;
	if (known->expires < expires)
		known->expires = expires;
	if (!(known->flags & RD_K_GLOBAL) || (s->a.verified && !stays(s, known))) {
		known->rule = s->known.rule;
		known->target = s->known.target;
		known->origin = s->known.origin;
		known->flags = s->known.flags | (known->flags & RD_K_SHARED);
	}
	return 1;
}

static __always_inline void learn_begin_found(struct scratch *s)
{
	s->a.now = now_ticks();
	s->a.no_room = 0;
	s->a.refused = 0;
	s->a.news = 0;
	s->a.mix = 0;
	s->key.bits = 128;
	s->key.client = s->c.client;
	known_fill(s, matched_slot(s));
	forget();
}

/* Learns one address of those that were collected; 0 where there is no room. */
static __always_inline int learn_one(struct scratch *s, __u32 i)
{
	__u32 n, ttl = s->ttl[i & (RD_RECORDS_MAX - 1)], *range;

	addr_copy(&s->key.addr, &s->event.addr[i & (RD_RECORDS_MAX - 1)]);
	range = bpf_map_lookup_elem(&exempt, &s->key.bits);
	if (range && *range) {
		s->a.refused++;
		return 1;
	}
	if (!learn_address(s, ttl))
		return 0;
	n = s->event.addresses;
	addr_copy(&s->event.addr[n & (RD_RECORDS_MAX - 1)], &s->key.addr);
	s->event.addresses = n + 1;
	s->a.mix += ((const __u32 *)&s->key.addr)[1] * 31 + ((const __u32 *)&s->key.addr)[3];
	if (!n || ttl < s->event.ttl)
		s->event.ttl = ttl;
	return 1;
}

/* Learns some of what was collected, and leaves in the event what is known now. */
static __always_inline enum walk learn_found(struct scratch *s)
{
	int i;

	if (!s->a.taken)
		learn_begin_found(s);
#pragma clang loop unroll(disable)
	for (i = 0; i < FOUND_STEPS; i++) {
		forget();
		if (s->a.taken >= s->a.nfound)
			break;
		s->a.taken++;
		if (!learn_one(s, s->a.taken - 1)) {
			s->a.no_room = 1;
			s->a.taken = s->a.nfound;
		}
	}
	forget();
	if (s->a.taken < s->a.nfound)
		return WALK_MORE;
	stat_add(RD_STAT_LEARNED, s->event.addresses);
	stat_add(RD_STAT_REFUSED, s->a.refused);
	return WALK_DONE;
}

/* Whether the same name, client and addresses were told within the last ticks: a
 * cache answers a busy client thousands of times a second, and the daemon learns
 * nothing from that. */
static __always_inline int told_lately(struct scratch *s)
{
	struct rd_recent *last;
	__u64 h = s->a.hash;
	__u32 slot;

	h = (h ^ s->key.client) * 0x100000001b3ULL;
	h = (h ^ s->a.mix) * 0x100000001b3ULL;
	h = (h ^ (s->a.now >> RECENT_TICKS_SHIFT)) * 0x100000001b3ULL;
	h |= 1; /* 0 is nothing */
	slot = h >> (64 - RECENT_BITS);
	last = bpf_map_lookup_elem(&recent, &slot);
	if (!last || last->told[0] == h || last->told[1] == h)
		return !!last;
	last->told[1] = last->told[0];
	last->told[0] = h;
	return 0;
}

#endif
