/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading a DNS answer (RFC 1035 section 4, RFC 9460 for SVCB and HTTPS), copied
 * into scratch memory. Walks of unknown length are taken some steps at a time and
 * go on in a further tail call: each is then verified for those steps only.
 */
#ifndef RD_DNS_H
#define RD_DNS_H

#include "scratch.h"

#define DNS_HEADER 12
#define DNS_MIN (DNS_HEADER + 5)		      /* root name, type, class */
#define DNS_QUESTION_MAX (DNS_HEADER + RD_NAME_MAX + 4) /* header and question */
#define DNS_STEPS 16
#define DNS_LETTERS 32
#define DNS_LABELS 32
#define HINT_STEPS 8

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SVCB 64
#define TYPE_HTTPS 65
#define TYPE_ANY 255
#define SVC_IPV4HINT 4
#define SVC_IPV6HINT 6

enum walk {
	WALK_DONE,
	WALK_MORE, /* it goes on */
	WALK_BAD,  /* the message is not sound, or holds more than is collected */
};

enum svcb_state {
	S_NEXT,	  /* take the next record */
	S_TARGET, /* in its target name */
	S_PARAM,  /* at a parameter */
	S_HINT,	  /* in the addresses of a hint */
};

static __always_inline __u16 get16(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

static __always_inline __u32 get32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

/* Begins to look for the name of the message in msg. */
static __always_inline void name_begin(struct scratch *s, enum looking looking)
{
	__builtin_memset(s->label, 0, sizeof(s->label));
	s->a.off = 0;
	s->a.labelled = 0;
	s->a.looking = looking;
	forget();
}

/* Finds the labels of the question's name; WALK_BAD where it is not a sound one. */
static __always_inline enum walk dns_labels(struct scratch *s)
{
	__u32 off, n;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_LABELS; i++) {
		forget();
		off = s->a.off & 0xff;
		n = s->msg[DNS_HEADER + off];
		if (!n) {
			s->a.name_len = off + 1;
			return DNS_HEADER + off + 5 <= s->a.len ? WALK_DONE : WALK_BAD;
		}
		if (n > 63 || off + n + 1 >= RD_NAME_MAX)
			return WALK_BAD;
		label_set(s, off);
		s->a.off = off + n + 1;
	}
	return WALK_MORE;
}

/* Begins with the letters of the name whose labels are known. */
static __always_inline void match_begin(const struct rd_config *cfg, struct scratch *s)
{
	s->a.target = 0;
	s->a.full = 0;
	s->a.hash = cfg->seed;
	s->a.pos = s->a.name_len - 1;
	s->a.labelled = 1;
}

static __always_inline void match_label(struct scratch *s, const struct rd_rule *r, __u32 pos)
{
	__u32 target = pos ? r->suffix : r->full ? r->full : r->suffix;

	if (!target)
		return;
	s->a.target = target;
	s->a.full = !pos && r->full;
	s->a.rule = s->a.hash;
}

/*
 * The targets of the longest listed suffix. The name is read from its end, so
 * that at the start of each label the hash is that suffix's: FNV-1a over the
 * wire form in lower case (a length octet is below 'A'). Go: ebpf.HashName.
 */
static __always_inline enum walk dns_match(struct scratch *s)
{
	__u32 zero = 0, pos, c;
	struct rd_rule *r;
	void *inner;
	int i;

	inner = bpf_map_lookup_elem(&rules, &zero);
	if (!inner)
		return WALK_DONE;
#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_LETTERS; i++) {
		forget();
		if (!s->a.pos)
			return WALK_DONE;
		pos = (s->a.pos - 1) & 0xff;
		s->a.pos = pos;
		c = s->msg[DNS_HEADER + pos];
		if (c - 'A' < 26)
			c |= 0x20;
		s->a.hash = (s->a.hash ^ c) * 0x100000001b3ULL;
		if (!label_at(s, pos))
			continue;
		r = bpf_map_lookup_elem(inner, &s->a.hash);
		if (r)
			match_label(s, r, pos);
	}
	return WALK_MORE;
}

/* Collects an address in its 16 octets; 0 where there are too many. */
static __always_inline int found_add(struct scratch *s, __u32 off, __u32 size, __u32 ttl)
{
	const __u8 *p = &s->msg[off & MSG_MASK];
	__u32 n = s->a.nfound;
	struct rd_addr *a;

	if (n >= RD_RECORDS_MAX)
		return 0;
	s->a.nfound = n + 1;
	n &= RD_RECORDS_MAX - 1;
	/* RFC 2181 section 8: a TTL with the highest bit set is zero. */
	s->ttl[n] = ttl & 0x80000000 ? 0 : ttl;
	a = &s->event.addr[n];
	if (size == 16) {
		__builtin_memcpy(a, p, 16);
		return 1;
	}
	__builtin_memset(a, 0, 10);
	a->b[10] = 0xff;
	a->b[11] = 0xff;
	__builtin_memcpy(&a->b[12], p, 4);
	return 1;
}

/* Takes the record whose type stands at off. */
static __always_inline int dns_record(struct scratch *s, __u32 off)
{
	const __u8 *p = &s->msg[off & MSG_MASK];
	__u32 n = s->a.n, size = get16(p + 8), type = get32(p); /* and class IN */

	s->a.n = n + 1;
	s->a.off = off + 10 + size;
	if (s->a.off > s->a.len)
		return 0;
	if (n >= s->a.answers && n < s->a.from)
		return 1;
	if ((type == (TYPE_A << 16 | 1) && size == 4) ||
	    (type == (TYPE_AAAA << 16 | 1) && size == 16))
		return found_add(s, off + 10, size, get32(p + 4));
	if (type != (TYPE_SVCB << 16 | 1) && type != (TYPE_HTTPS << 16 | 1))
		return 1;
	n = s->a.nsvcb;
	if (n >= SVCB_MAX)
		return 0;
	s->svcb[n & (SVCB_MAX - 1)] = off;
	s->a.nsvcb = n + 1;
	return 1;
}

/* One label, or the end of a name with its record; 0 where it is not sound. */
static __always_inline int dns_step(struct scratch *s)
{
	__u32 off = s->a.off, c;

	if (off >= s->a.len)
		return 0;
	c = s->msg[off & MSG_MASK];
	if (c - 1 < 63) {
		s->a.off = off + c + 1;
		return 1;
	}
	/* The root label or a pointer; 64 to 191 are neither. */
	if (c - 1 < 191)
		return 0;
	return dns_record(s, off + 1 + (c >> 7));
}

/*
 * Collects the addresses and SVCB records of the answer section (and, for SVCB
 * and HTTPS questions, of the additional section, where resolvers put the
 * target's).
 */
static __always_inline enum walk dns_records(struct scratch *s)
{
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_STEPS; i++) {
		forget();
		if (s->a.n >= s->a.records)
			return WALK_DONE;
		if (!dns_step(s))
			return WALK_BAD;
	}
	return WALK_MORE;
}

static __always_inline void svcb_next(struct scratch *s)
{
	__u32 off, n = s->a.nsvcb - 1;
	const __u8 *p;

	off = s->svcb[n & (SVCB_MAX - 1)];
	s->a.nsvcb = n;
	p = &s->msg[off & MSG_MASK];
	s->a.ttl = get32(p + 4);
	s->a.end = off + 10 + get16(p + 8);
	s->a.off = off + 12; /* behind the priority */
	s->a.state = S_TARGET;
}

static __always_inline void svcb_param(struct scratch *s, __u32 off)
{
	const __u8 *p = &s->msg[off & MSG_MASK];
	__u32 key = get16(p);

	s->a.param_end = off + 4 + get16(p + 2);
	if (key == SVC_IPV4HINT || key == SVC_IPV6HINT) {
		s->a.size = key == SVC_IPV4HINT ? 4 : 16;
		s->a.state = S_HINT;
		s->a.off = off + 4;
	} else {
		s->a.off = s->a.param_end;
	}
}

static __always_inline int svcb_label(struct scratch *s, __u32 off)
{
	__u32 c = s->msg[off & MSG_MASK];

	s->a.off = off + c + 1;
	if (!c)
		s->a.state = S_PARAM;
	return c < 64; /* RFC 9460 section 2.2: not compressed */
}

static __always_inline int svcb_hint(struct scratch *s, __u32 off)
{
	__u32 size = s->a.size;

	if (off + size > s->a.param_end) {
		s->a.off = s->a.param_end;
		s->a.state = S_PARAM;
		return 1;
	}
	s->a.off = off + size;
	return found_add(s, off, size, s->a.ttl);
}

/* One step in a record; 0 where it is not a sound one. */
static __always_inline int svcb_step(struct scratch *s)
{
	__u32 off = s->a.off, state = s->a.state;

	if (off > s->a.end)
		return 0;
	if (state == S_HINT)
		return svcb_hint(s, off);
	if (off == s->a.end) {
		s->a.state = S_NEXT;
		return state == S_PARAM;
	}
	if (state == S_TARGET)
		return svcb_label(s, off);
	svcb_param(s, off);
	return 1;
}

/* Collects the address hints of the SVCB records. */
static __always_inline enum walk dns_hints(struct scratch *s)
{
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < HINT_STEPS; i++) {
		forget();
		if (s->a.state == S_NEXT) {
			if (!s->a.nsvcb)
				return WALK_DONE;
			svcb_next(s);
			continue;
		}
		if (!svcb_step(s))
			return WALK_BAD;
	}
	return WALK_MORE;
}

#endif
