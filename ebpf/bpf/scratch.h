/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Per-CPU memory in which a program does its work, and hands it on to the stages
 * that follow by tail call.
 *
 * The verifier knows nothing of what such memory holds. What is kept here rather
 * than in variables makes every turn of a loop, and every way to one place, look
 * the same to it, so that it does not multiply paths: small routers verify
 * slowly, and older kernels find fewer paths equal.
 *
 * No program of ours interrupts another on the same CPU: tc runs with bottom
 * halves off.
 */
#ifndef RD_SCRATCH_H
#define RD_SCRATCH_H

#include "maps.h"

/* One label behind the last octet may be addressed, never used. */
#define MSG_ROOM (RD_MSG_MAX + 256)
#define MSG_MASK (RD_MSG_MAX - 1)
#define SVCB_MAX 8

/* A packet's headers. Offsets are from the start of the skb's data. */
struct packet {
	struct rd_addr src;
	struct rd_addr dst;
	__u32 l3;      /* the IP header */
	__u32 l4;      /* the transport header */
	__u32 end;     /* behind the IP packet's last octet */
	__u32 id;      /* of a fragment, network byte order */
	__u32 seq;     /* TCP, host byte order */
	__u32 ack;
	__u32 payload; /* what TCP or UDP carries */
	__u16 sport;   /* host byte order; 0 where there are none */
	__u16 dport;
	__u8 v6;
	__u8 proto;
	__u8 frag; /* enum rd_frag */
	__u8 tcp_flags;
};

struct choice {
	struct rd_addr server;
	struct rd_addr client_addr;
	__u64 client;
	__u64 include; /* the client's bits */
	__u64 exclude;
	__u32 target;
	__u32 slot;
	__u16 dest;  /* 0: not listed for this client */
	__u8 drain;
	__u8 asked; /* include and exclude are filled */
};

/* One address as the key of three maps: exempt from bits on, addresses from addr
 * on, grants from addr on. */
struct learn_key {
	__u32 pad;
	__u32 bits;
	struct rd_addr addr;
	__u64 client;
};

/* A DNS answer (dns.h). */
struct answer {
	__u32 next, stop, step; /* where the next message is, the last ends, their length */
	__u32 whole;		/* 0: a part of the message is not there */
	__u32 len;		/* octets of msg */
	__u32 name_len;		/* with the root label */
	__u32 qtype;
	__u32 answers; /* records of the answer section */
	__u32 from;    /* the first of the additional section that counts */
	__u32 records; /* all that are to be walked */
	__u32 pos;     /* what is left of the name to be hashed */
	__u32 off, n;  /* where the walk is */
	__u32 state, end, param_end, ttl, size; /* the walk of an SVCB record */
	__u32 nsvcb, nfound;
	__u32 taken; /* of nfound, those that have been dealt with */
	__u32 target, full, refused, no_room;
	__u32 news; /* something became known that was not, or otherwise */
	__u32 mix;  /* of the addresses that are known now */
	__u32 now;
	__u32 looking;	/* enum looking */
	__u32 labelled; /* the labels of the name are known */
	__u32 verified; /* it came from the resolver */
	__u32 back;	/* the device that it must come in by, 0: it goes on */
	__u64 hash;
	__u64 rule;
};

/* What is being looked up, and so what follows when it is known. */
enum looking {
	LOOK_ANSWER,
	LOOK_QUERY,
	LOOK_HELLO,
};

enum query_at {
	AT_LAN, /* ingress of a client's device */
	AT_LO,	/* egress of lo: the router's own, to itself */
	AT_WAN, /* egress of a WAN device: the router's own */
	AT_STRANGER, /* there: of a client behind a device without programs, or for one */
};

/* A query, or what else is seen at a device beside addresses. */
struct query {
	struct rd_query_key key;
	struct rd_asked asked;
	struct rd_addr own; /* where the resolver is */
	__u32 at;
	__u32 eth;
	__u32 verdict; /* of the program that it came from, where nothing changes it */
	__u32 open;    /* a message is being matched */
	__u32 listed, others; /* messages of the skb */
};

/* The walk through a TLS hello. */
struct hello {
	__u32 pos, stop; /* in msg */
	__u32 left;	 /* octets from pos that the hello says it has */
	__u32 state;
	__u32 off; /* in the skb, of what was loaded */
	__u32 name, name_len;
};

struct scratch {
	struct packet p;
	struct choice c;
	struct rd_flow_key flow_key;
	struct rd_flow flow;
	struct rd_frag_key frag_key;
	struct answer a;
	struct query q;
	struct hello h;
	struct learn_key key;
	struct rd_known known;
	__u16 svcb[SVCB_MAX]; /* offsets of SVCB records' types */
	__u32 ttl[RD_RECORDS_MAX]; /* of event.addr */
	__u32 label[8]; /* bits: where labels of the question's name begin */
	struct rd_event event;
	__u8 msg[MSG_ROOM];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline void label_set(struct scratch *s, __u32 pos)
{
	s->label[pos >> 5 & 7] |= 1U << (pos & 31);
}

static __always_inline __u32 label_at(const struct scratch *s, __u32 pos)
{
	return s->label[pos >> 5 & 7] >> (pos & 31) & 1;
}

/* Makes the compiler keep scratch memory in memory. */
#define forget() asm volatile("" ::: "memory")

/* Addresses lie on 4 octets in every struct of ours. */
static __always_inline void addr_copy(void *to, const void *from)
{
	__u32 *t = to;
	const __u32 *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
	t[3] = f[3];
}

static __always_inline int addr_same(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

#endif
