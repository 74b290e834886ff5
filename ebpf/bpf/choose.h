/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an address and a client to a destination and its slot. Shared by the
 * programs that look at packets on their way out (steer, guard) and back.
 */
#ifndef RD_CHOOSE_H
#define RD_CHOOSE_H

#include "scratch.h"

/* What listed found, so that it need not be looked up again: bits, and fields of
 * struct rd_known where the address is known. */
#define FOUND_LISTED 1ULL /* for somebody */
#define FOUND_KNOWN 2ULL
#define FOUND_FLAGS_SHIFT 8
#define FOUND_TARGET_SHIFT 16
#define FOUND_USED_SHIFT 32

static __always_inline __u64 found(const struct rd_known *k)
{
	return FOUND_LISTED | FOUND_KNOWN | (__u64)k->flags << FOUND_FLAGS_SHIFT |
	       (__u64)k->target << FOUND_TARGET_SHIFT | (__u64)k->used << FOUND_USED_SHIFT;
}

/* Whether an address may be listed for somebody: what every packet pays. 0: it is
 * for nobody. */
static __always_inline __u64 listed(const struct rd_config *cfg, const struct rd_addr *addr)
{
	const struct rd_known *known = bpf_map_lookup_elem(&addresses, addr);
	struct rd_prefix key;
	struct rd_rule *net;

	if (known)
		return found(known);
	if (!(cfg->flags & RD_F_NETWORKS))
		return 0;
	key.bits = 128;
	addr_copy(&key.addr, addr);
	net = bpf_map_lookup_elem(&networks, &key);
	return net && net->suffix ? FOUND_LISTED : 0;
}

/* Fills in the client's bits, once. */
static __always_inline void client_bits(struct choice *c)
{
	struct rd_prefix key;
	const struct rd_clients *bits;

	if (c->asked)
		return;
	c->asked = 1;
	key.bits = 128;
	addr_copy(&key.addr, &c->client_addr);
	bits = bpf_map_lookup_elem(&client_networks, &key);
	if (bits) {
		c->include = bits->include;
		c->exclude = bits->exclude;
	}
	bits = bpf_map_lookup_elem(&client_macs, &c->client);
	if (bits) {
		c->include |= bits->include;
		c->exclude |= bits->exclude;
	}
}

/* The first destination of the chain at c->target that takes the client, in
 * c->dest; 0 if none does. */
static __always_inline void chain_walk(struct choice *c)
{
	const struct rd_target *t;
	__u64 bit;
	int i;

	c->dest = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < RD_CHAIN_MAX; i++) {
		forget();
		if (!c->target)
			return;
		t = bpf_map_lookup_elem(&targets, &c->target);
		if (!t)
			return;
		if (t->flags) {
			client_bits(c);
			forget();
			bit = 1ULL << (t->bit & 63);
			if (c->exclude & bit || (t->flags & RD_T_INCLUDE && !(c->include & bit))) {
				c->target = t->next;
				continue;
			}
		}
		c->dest = t->dest;
		return;
	}
}

/* The slot of the first destination of the matched rule's chain that takes the
 * client in s->c; 0 if none does. */
static __always_inline __u32 matched_slot(struct scratch *s)
{
	__u32 index, *slot;

	s->c.include = 0;
	s->c.exclude = 0;
	s->c.asked = 0;
	s->c.target = s->a.target;
	chain_walk(&s->c);
	forget();
	index = s->c.dest;
	slot = bpf_map_lookup_elem(&slots, &index);
	return index && slot ? *slot : 0;
}

/* Whether some destination of the chain at c->target is closed: which client
 * this is can no longer be seen. */
static __always_inline int chain_closed(struct choice *c)
{
	const struct rd_target *t;
	__u32 index, *slot;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < RD_CHAIN_MAX; i++) {
		forget();
		if (!c->target)
			return 0;
		t = bpf_map_lookup_elem(&targets, &c->target);
		if (!t)
			return 0;
		index = t->dest;
		c->target = t->next;
		slot = bpf_map_lookup_elem(&slots, &index);
		if (slot && *slot & RD_SLOT_CLOSED)
			return 1;
	}
	return 0;
}

/* Notes that the entry of c->server that decided was used: its grant, or its own. */
static __always_inline void note_used(struct scratch *s, int grant, __u32 now)
{
	struct rd_known *known;

	if (grant)
		known = bpf_map_lookup_elem(&grants, &s->key.addr);
	else
		known = bpf_map_lookup_elem(&addresses, &s->c.server);
	if (known)
		known->used = now;
}

/* What an address is for a client by lookups: by its own, if its rule is still there,
 * and else by what counts for every client, the last lookup of anybody. */
static __always_inline void choose_known(struct scratch *s, __u64 what, __u32 now)
{
	int global = (what >> FOUND_FLAGS_SHIFT & (RD_K_GLOBAL | RD_K_SHARED)) == RD_K_GLOBAL;
	const struct rd_known *grant;

	if (!(what & FOUND_KNOWN))
		return;
	addr_copy(&s->key.addr, &s->c.server);
	s->key.client = s->c.client;
	grant = bpf_map_lookup_elem(&grants, &s->key.addr);
	if (global && grant && grant->flags & RD_K_DRAIN)
		grant = NULL;
	if (grant)
		what = found(grant);
	else if (!global)
		return;
	s->c.drain = what >> FOUND_FLAGS_SHIFT & RD_K_DRAIN;
	s->c.target = (__u16)(what >> FOUND_TARGET_SHIFT);
	chain_walk(&s->c);
	forget();
	/* Once a tick, so that it may be looked up anew. */
	if (s->c.dest && now && (__u32)(what >> FOUND_USED_SHIFT) != now)
		note_used(s, !!grant, now);
}

/* A network that is listed now stands in for an address whose rule is gone. */
static __always_inline void choose_network(struct scratch *s)
{
	__u16 dest = s->c.dest;
	struct rd_rule *net;

	s->key.bits = 128;
	addr_copy(&s->key.addr, &s->c.server);
	net = bpf_map_lookup_elem(&networks, &s->key.bits);
	if (!net || (dest && net->full))
		return;
	s->c.target = net->suffix;
	chain_walk(&s->c);
	forget();
	if (s->c.dest)
		s->c.drain = !!net->full; /* full of a network: its rule is gone */
	else
		s->c.dest = dest;
}

/*
 * Where c->server goes for the client, in c->dest and c->slot, by what listed found.
 * Learned entries that decide are noted as used where now is given.
 */
static __always_inline void choose(const struct rd_config *cfg, struct scratch *s, __u64 what,
				   __u32 now)
{
	struct choice *c = &s->c;
	__u32 index, *slot;

	c->include = 0;
	c->exclude = 0;
	c->slot = 0;
	c->dest = 0;
	c->drain = 0;
	c->asked = 0;
	choose_known(s, what, now);
	forget();
	if ((!c->dest || c->drain) && cfg->flags & RD_F_NETWORKS)
		choose_network(s);
	forget();
	index = c->dest;
	slot = index ? bpf_map_lookup_elem(&slots, &index) : NULL;
	if (slot)
		c->slot = *slot;
	else
		c->dest = 0;
	forget();
}

static __always_inline void count(__u16 dest, __u8 path, __u8 rx, __u32 packets, __u32 bytes)
{
	struct rd_count_key key = {.dest = dest, .path = path, .rx = rx};
	struct rd_count *c = bpf_map_lookup_elem(&counters, &key), zero = {};

	if (!c) {
		bpf_map_update_elem(&counters, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&counters, &key);
	}
	if (c) {
		c->packets += packets;
		c->bytes += bytes;
	}
}

#endif
