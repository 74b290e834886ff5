/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, once. Sizes that depend on the machine or the settings are set by
 * the loader; those here are what a test gets. All are pinned.
 */
#ifndef RD_MAPS_H
#define RD_MAPS_H

#include "abi.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_config);
} config SEC(".maps");

/* Hash of a name in wire form, read from its end, to its targets. The one
 * inner map is replaced whole at a reload. */
struct rules_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct rd_rule));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct rules_inner);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RD_MAX_TARGETS);
	__type(key, __u32);
	__type(value, struct rd_target);
} targets SEC(".maps");

/* Path and flags of a destination, RD_SLOT_*. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RD_MAX_DESTS);
	__type(key, __u32);
	__type(value, __u32);
} slots SEC(".maps");

/* Which slot a destination has, by a hash of its name: for package ebpf, so that
 * numbers stay the same from process to process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, RD_MAX_DESTS);
	__uint(key_size, 16);
	__type(value, __u32);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct rd_addr);
	__type(value, struct rd_known);
} addresses SEC(".maps");

/* What an address is for one client. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct rd_grant_key);
	__type(value, struct rd_known);
} grants SEC(".maps");

/* Networks that rules list, to a target. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct rd_prefix);
	__type(value, struct rd_rule);
} networks SEC(".maps");

/* Ranges that no DNS answer makes known: reserved ones, the router's and the
 * LAN's own, tunnels' endpoints. The value is the prefix' length, counted
 * from 1; 0 stands for a range that is not exempt. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct rd_prefix);
	__type(value, __u32);
} exempt SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct rd_prefix);
	__type(value, struct rd_clients);
} client_networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct rd_clients);
} client_macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct rd_flow_key);
	__type(value, struct rd_flow);
} flows SEC(".maps");

/* First fragments' paths, for the fragments that follow. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, struct rd_frag_key);
	__type(value, __u32);
} fragments SEC(".maps");

/* The resolver's addresses, by interface index of the clients' device. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct rd_resolver);
} resolver SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct rd_query_key);
	__type(value, struct rd_asked);
} queries SEC(".maps");

/* Connections apart from queries: a burst of those must not end them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct rd_query_key);
	__type(value, struct rd_asked);
} streams SEC(".maps");

/* Known resolvers over HTTPS. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct rd_prefix);
	__type(value, __u32);
} doh SEC(".maps");

/* What was told of answers a moment ago, by the high bits of its hash, the newest
 * first. One that is lost to two others is told twice. */
#define RECENT_BITS 10

struct rd_recent {
	__u64 told[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << RECENT_BITS);
	__type(key, __u32);
	__type(value, struct rd_recent);
} recent SEC(".maps");

/* When it was told last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct rd_told_key);
	__type(value, __u32);
} told SEC(".maps");

/* Hellos in parts, by the low bits of the client's port: one that is lost to
 * another is looked at when the client connects again. */
#define HELLOS 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HELLOS);
	__type(key, __u32);
	__type(value, struct rd_hello);
} hellos SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct rd_count_key);
	__type(value, struct rd_count);
} counters SEC(".maps");

/* Written at a connection's turning points only, which is why it is no part of
 * counters. A destination that finds no room goes unjudged. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct rd_count_key);
	__type(value, struct rd_health);
} health SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RD_STAT_MAX);
	__type(key, enum rd_stat);
	__type(value, __u64);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

/*
 * The later stages. Split by tail calls, each is verified once, from a state
 * that does not depend on how it was reached. Made anew by each process, filled
 * before any program that calls it is attached.
 */
enum stage {
	STAGE_ANSWER,
	STAGE_MATCH,
	STAGE_RECORDS,
	STAGE_HINTS,
	STAGE_QUERY,
	STAGE_STREAM,
	STAGE_BACK,
	STAGE_BYPASS,
	STAGE_HELLO,
	STAGE_WALK,
	STAGE_NAMED,
	STAGE_MAX,
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STAGE_MAX);
	__type(key, __u32);
	__type(value, __u32);
} stages SEC(".maps");

static __always_inline void stat_add(enum rd_stat stat, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&stats, &stat);

	if (v)
		*v += n;
}

static __always_inline const struct rd_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* The clock of every map: ticks of 2^30 ns (1.07 s) of CLOCK_MONOTONIC. Seconds
 * would need a 64-bit division, which arm's JIT does not have. */
static __always_inline __u32 now_ticks(void)
{
	return (__u32)(bpf_ktime_get_ns() >> 30);
}

/* The same clock in 2^20 ns (1.05 ms), never 0: for what is too short for ticks.
 * It turns over after 52 days, so it tells lengths, not moments. */
static __always_inline __u32 fine(__u64 ns) { return (__u32)(ns >> 20) | 1; }

#endif
