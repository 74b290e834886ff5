/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading a DNS answer (RFC 1035 section 4, RFC 9460 for SVCB and HTTPS).
 *
 * The message is copied into per-CPU memory and the walk's state is kept there
 * too: the verifier knows nothing of what memory holds, so every turn of a loop
 * looks the same to it and it does not multiply paths.
 */
#ifndef RD_DNS_H
#define RD_DNS_H

#include "maps.h"
#include <bpf/bpf_endian.h>

#define DNS_HEADER 12
#define DNS_MIN (DNS_HEADER + 5) /* root name, type, class */
#define MSG_MASK (RD_MSG_MAX - 1)
#define RECORD_STEPS 320 /* a label, or the end of a name with its record, each */
#define SVCB_STEPS 128	 /* a label, a parameter or an address each */
#define SVCB_MAX 8

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SVCB 64
#define TYPE_HTTPS 65
#define SVC_IPV4HINT 4
#define SVC_IPV6HINT 6

enum svcb_state {
	S_NEXT,	  /* take the next record */
	S_TARGET, /* in its target name */
	S_PARAM,  /* at a parameter */
	S_HINT,	  /* in the addresses of a hint */
};

struct found {
	__u16 off;
	__u16 size; /* 4 or 16 */
	__u32 ttl;
};

struct scratch {
	/* One label behind the last octet may be addressed, never used. */
	__u8 msg[RD_MSG_MAX + 256];
	__u8 label[256]; /* 1 where a label begins, offsets in the name */
	__u16 record[RD_RECORDS_MAX]; /* offsets of the records' types */
	__u16 svcb[SVCB_MAX];
	struct found found[RD_RECORDS_MAX];
	__u32 off, state, end, param_end, ttl, size;
	__u32 answers; /* records of the answer section */
	__u32 from;    /* the first of the additional section */
	__u32 records; /* all that are to be walked */
	__u32 n, nsvcb, nfound;
	__u32 name_len; /* with the root label */
	__u32 target, full, full_room, refused;
	__u32 qtype;
	__u32 len;   /* octets of msg */
	__u32 whole; /* 0: a part of the message is not there */
	__u32 now;
	__u64 client;
	__u64 rule;
	struct rd_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

#define forget() asm volatile("" ::: "memory")

static __always_inline __u16 get16(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

static __always_inline __u32 get32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

/* Finds the labels of the question's name; 0 where it is not a sound one. */
static __always_inline int dns_labels(struct scratch *s)
{
	__u32 off, n;
	int i;

	__builtin_memset(s->label, 0, sizeof(s->label));
	s->off = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < 128; i++) {
		forget();
		off = s->off & 0xff;
		n = s->msg[DNS_HEADER + off];
		if (!n) {
			s->name_len = off + 1;
			return DNS_HEADER + off + 5 <= s->len;
		}
		if (n > 63 || off + n + 1 >= RD_NAME_MAX)
			return 0;
		s->label[off] = 1;
		s->off = off + n + 1;
	}
	return 0;
}

/*
 * The targets of the longest listed suffix. The name is read from its end, so
 * that at the start of each label the hash is that suffix's: FNV-1a over the
 * wire form in lower case (a length octet is below 'A'). Go: ebpf.HashName.
 */
static __always_inline void dns_match(struct scratch *s, __u64 seed)
{
	__u32 zero = 0, len, pos, c, target;
	__u64 hash = seed;
	struct rd_rule *r;
	void *inner;
	int i;

	s->target = 0;
	s->full = 0;
	inner = bpf_map_lookup_elem(&rules, &zero);
	if (!inner)
		return;
#pragma clang loop unroll(disable)
	for (i = 0; i < RD_NAME_MAX; i++) {
		forget();
		len = s->name_len - 1;
		if (i >= len)
			return;
		pos = (len - 1 - i) & 0xff;
		c = s->msg[DNS_HEADER + pos];
		if (c - 'A' < 26)
			c |= 0x20;
		hash = (hash ^ c) * 0x100000001b3ULL;
		if (!s->label[pos])
			continue;
		r = bpf_map_lookup_elem(inner, &hash);
		if (!r)
			continue;
		target = pos ? r->suffix : r->full ? r->full : r->suffix;
		if (target) {
			s->target = target;
			s->full = !pos && r->full;
			s->rule = hash;
		}
	}
}

/*
 * Notes where each record's fixed part begins. 0 where the message ends early
 * or takes more steps than there are.
 */
static __always_inline int dns_records(struct scratch *s)
{
	__u32 off, c, n;
	int i;

	s->n = 0;
	s->off = DNS_HEADER + s->name_len + 4;
#pragma clang loop unroll(disable)
	for (i = 0; i < RECORD_STEPS; i++) {
		forget();
		n = s->n;
		if (n >= s->records)
			return 1;
		off = s->off;
		if (off >= s->len)
			return 0;
		c = s->msg[off & MSG_MASK];
		if (c - 1 < 63) {
			s->off = off + c + 1;
			continue;
		}
		/* The root label or a pointer; 64 to 191 are neither. */
		if (c - 1 < 191)
			return 0;
		off += 1 + (c >> 7);
		s->record[n & (RD_RECORDS_MAX - 1)] = off;
		s->n = n + 1;
		s->off = off + 10 + get16(&s->msg[off & MSG_MASK] + 8);
		if (s->off > s->len)
			return 0;
	}
	return 0;
}

static __always_inline int found_add(struct scratch *s, __u32 off, __u32 size, __u32 ttl)
{
	__u32 n = s->nfound;

	if (n >= RD_RECORDS_MAX)
		return 0;
	s->found[n & (RD_RECORDS_MAX - 1)].off = off;
	s->found[n & (RD_RECORDS_MAX - 1)].size = size;
	s->found[n & (RD_RECORDS_MAX - 1)].ttl = ttl;
	s->nfound = n + 1;
	return 1;
}

/* Sorts the records into addresses and SVCB records. */
static __always_inline int dns_addresses(struct scratch *s)
{
	__u32 off, type, size, n;
	const __u8 *p;
	int i;

	s->nfound = 0;
	s->nsvcb = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < RD_RECORDS_MAX; i++) {
		forget();
		if (i >= s->n)
			return 1;
		if (i >= s->answers && i < s->from)
			continue;
		off = s->record[i];
		p = &s->msg[off & MSG_MASK];
		type = get32(p); /* and class IN */
		size = get16(p + 8);
		if ((type == (TYPE_A << 16 | 1) && size == 4) ||
		    (type == (TYPE_AAAA << 16 | 1) && size == 16)) {
			if (!found_add(s, off + 10, size, get32(p + 4)))
				return 0;
		} else if (type == (TYPE_SVCB << 16 | 1) || type == (TYPE_HTTPS << 16 | 1)) {
			n = s->nsvcb;
			if (n >= SVCB_MAX)
				return 0;
			s->svcb[n & (SVCB_MAX - 1)] = off;
			s->nsvcb = n + 1;
		}
	}
	return 1;
}

static __always_inline void svcb_next(struct scratch *s)
{
	const __u8 *p;
	__u32 off, n = s->nsvcb - 1;

	off = s->svcb[n & (SVCB_MAX - 1)];
	s->nsvcb = n;
	p = &s->msg[off & MSG_MASK];
	s->ttl = get32(p + 4);
	s->end = off + 10 + get16(p + 8);
	s->off = off + 12; /* behind the priority */
	s->state = S_TARGET;
}

static __always_inline void svcb_param(struct scratch *s, __u32 off)
{
	const __u8 *p = &s->msg[off & MSG_MASK];
	__u32 key = get16(p);

	s->param_end = off + 4 + get16(p + 2);
	if (key == SVC_IPV4HINT || key == SVC_IPV6HINT) {
		s->size = key == SVC_IPV4HINT ? 4 : 16;
		s->state = S_HINT;
		s->off = off + 4;
	} else {
		s->off = s->param_end;
	}
}

/* One step in a record; 0 where it is not a sound one. */
static __always_inline int svcb_step(struct scratch *s)
{
	__u32 off = s->off, state = s->state, c;

	if (off > s->end)
		return 0;
	if (state == S_HINT) {
		if (off + s->size > s->param_end) {
			s->off = s->param_end;
			s->state = S_PARAM;
			return 1;
		}
		s->off = off + s->size;
		return found_add(s, off, s->size, s->ttl);
	}
	if (off == s->end) {
		s->state = S_NEXT;
		return state == S_PARAM;
	}
	if (state == S_TARGET) {
		c = s->msg[off & MSG_MASK];
		if (c > 63)
			return 0; /* RFC 9460 section 2.2: not compressed */
		s->off = off + c + 1;
		if (!c)
			s->state = S_PARAM;
		return 1;
	}
	svcb_param(s, off);
	return 1;
}

/* Adds the address hints of the SVCB records. */
static __always_inline int dns_hints(struct scratch *s)
{
	int i;

	s->state = S_NEXT;
#pragma clang loop unroll(disable)
	for (i = 0; i < SVCB_STEPS; i++) {
		forget();
		if (s->state == S_NEXT) {
			if (!s->nsvcb)
				return 1;
			svcb_next(s);
			continue;
		}
		if (!svcb_step(s))
			return 0;
	}
	return 0;
}

/*
 * Collects the addresses of the answer section (and, for SVCB and HTTPS
 * questions, of the additional section, where resolvers put the target's).
 */
static __always_inline int dns_walk(struct scratch *s)
{
	return dns_records(s) && dns_addresses(s) && (!s->nsvcb || dns_hints(s));
}

#endif
