/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an address and a client to a destination and its slot. Shared by the
 * programs that look at packets on their way out (steer, guard) and back.
 */
#ifndef RD_CHOOSE_H
#define RD_CHOOSE_H

#include "maps.h"

struct choice {
	struct rd_known *known; /* the entry that decided; NULL for a network */
	__u32 slot;
	__u16 dest;	 /* 0: not listed for this client */
	__u8 drain;
};

/* The first destination of a chain that takes this client; 0 if none does. */
static __always_inline __u16 chain_walk(__u16 target, const struct rd_addr *addr, __u64 client)
{
	struct rd_prefix key = {.bits = 128, .addr = *addr};
	const struct rd_clients *mac = NULL, *net = NULL;
	__u64 include, exclude, bit;
	const struct rd_target *t;
	__u32 index = target;
	int i, looked = 0;

	for (i = 0; i < RD_CHAIN_MAX; i++) {
		if (!index)
			return 0;
		t = bpf_map_lookup_elem(&targets, &index);
		if (!t)
			return 0;
		if (!t->flags)
			return t->dest;
		if (!looked) {
			net = bpf_map_lookup_elem(&client_networks, &key);
			mac = bpf_map_lookup_elem(&client_macs, &client);
			looked = 1;
		}
		include = (net ? net->include : 0) | (mac ? mac->include : 0);
		exclude = (net ? net->exclude : 0) | (mac ? mac->exclude : 0);
		bit = 1ULL << (t->bit & 63);
		if (!(exclude & bit) && (!(t->flags & RD_T_INCLUDE) || include & bit))
			return t->dest;
		index = t->next;
	}
	return 0;
}

/* What an address is for a client by lookups: NULL where it is not known. */
static __always_inline struct rd_known *known_get(const struct rd_addr *addr, __u64 client)
{
	struct rd_known *known = bpf_map_lookup_elem(&addresses, addr);
	struct rd_grant_key key;

	if (!known)
		return NULL;
	if ((known->flags & (RD_K_GLOBAL | RD_K_SHARED)) == RD_K_GLOBAL)
		return known;
	key.addr = *addr;
	key.client = client;
	return bpf_map_lookup_elem(&grants, &key);
}

static __always_inline void choose(const struct rd_config *cfg, const struct rd_addr *server,
				   const struct rd_addr *client_addr, __u64 client,
				   struct choice *c)
{
	struct rd_prefix key = {.bits = 128, .addr = *server};
	struct rd_rule *net;
	__u32 index, *slot;

	__builtin_memset(c, 0, sizeof(*c));
	c->known = known_get(server, client);
	if (c->known) {
		c->drain = c->known->flags & RD_K_DRAIN;
		c->dest = chain_walk(c->known->target, client_addr, client);
	}
	if (!c->dest && cfg->flags & RD_F_NETWORKS) {
		c->known = NULL;
		net = bpf_map_lookup_elem(&networks, &key);
		if (net) {
			c->drain = !!net->full; /* full of a network: its rule is gone */
			c->dest = chain_walk(net->suffix, client_addr, client);
		}
	}
	index = c->dest;
	slot = c->dest ? bpf_map_lookup_elem(&slots, &index) : NULL;
	if (slot)
		c->slot = *slot;
	else
		c->dest = 0;
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
