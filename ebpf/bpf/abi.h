/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs and package ebpf agree on. Integers are in host byte
 * order unless a name ends in _be. Every struct has the same layout on 32- and
 * 64-bit machines; the assertions at the end hold it.
 */
#ifndef RD_ABI_H
#define RD_ABI_H

#include <linux/types.h>

/* Raised whenever a struct below or the meaning of a map changes. */
#define RD_ABI 4

#define RD_MAX_PATHS 16	  /* mark values, owned.MaxPaths */
#define RD_MAX_DESTS 1024 /* destinations, slot 0 is never used */
#define RD_MAX_TARGETS 4096
#define RD_CHAIN_MAX 4 /* destinations tried for one rule */
#define RD_NAME_MAX 255
#define RD_MSG_MAX 4096 /* octets of a DNS message */
#define RD_RECORDS_MAX 64

/* owned.PathIndex */
enum rd_path {
	RD_PATH_NONE,
	RD_PATH_DIRECT,
	RD_PATH_BLOCK,
	RD_PATH_TUNNEL0,
};

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d; network byte order. */
struct rd_addr {
	__u8 b[16];
};

/* Key of the longest-prefix maps; an IPv4 prefix of n bits has 96 + n. */
struct rd_prefix {
	__u32 bits;
	struct rd_addr addr;
};

enum rd_config_flags {
	RD_F_NETWORKS = 1 << 0,	    /* the map networks is not empty */
	RD_F_TRACK_DIRECT = 1 << 1, /* some destination may be on the direct path */
	RD_F_OWN = 1 << 2,	    /* the router's own connections are steered */
	RD_F_RESOLVE = 1 << 3,	    /* clients' queries for listed names are turned to the resolver */
	RD_F_RESOLVE_OWN = 1 << 4,  /* and those of the router itself */
	RD_F_LOCAL_DNS = 1 << 5,    /* DNS over TLS is refused, over HTTPS told */
	RD_F_TLS = 1 << 6,	    /* server names are read in TLS hellos */
	RD_F_SHARED = 1 << 7,	    /* addresses of unlisted names are marked RD_K_SHARED */
};

struct rd_config {
	__u64 seed; /* of the name hash */
	__u32 mark_mask;
	__u32 mark_shift;
	__u32 flags;
	__u32 wan[4]; /* interface indexes of the direct path, 0: none */
	__u32 abi;    /* RD_ABI of who made the maps */
	__u16 resolver_port; /* of routerd's own resolver */
	__u16 pad;
	/* The highest interface index when the programs were last attached: the
	 * kernel gives a device that comes later a higher one. 0: not known. */
	__u32 newest;
	__u32 lan[4]; /* interface indexes of devices with steer and learn, 0: none */
};

/* Targets of one name: for the name itself and for it and all below. 0: none. */
struct rd_rule {
	__u16 full;
	__u16 suffix;
};

enum rd_target_flags {
	RD_T_INCLUDE = 1 << 0, /* only for clients with the bit in include */
	RD_T_EXCLUDE = 1 << 1, /* not for clients with the bit in exclude */
};

/* One link of a chain: the destination, or the next when it is not this client's. */
struct rd_target {
	__u16 dest;
	__u16 next;
	__u8 flags;
	__u8 bit; /* of rd_clients, 0 to 63 */
	__u16 pad;
};

/* A slot: where a destination goes now. Written as one aligned word. */
#define RD_SLOT_PATH 0xffu
#define RD_SLOT_CLOSED 0x100u /* never by the WAN: fallback block, policy block */
#define RD_SLOT_RESOLVE 0x200u /* queries for its names go to routerd's resolver */

struct rd_clients {
	__u64 include;
	__u64 exclude;
};

enum rd_known_flags {
	RD_K_GLOBAL = 1 << 0, /* for every client that has no grant of its own; else for none */
	RD_K_SHARED = 1 << 1, /* also answers for unlisted names: grant needed */
	RD_K_DRAIN = 1 << 2,  /* its rule is gone: old flows only */
	RD_K_FULL = 1 << 3,   /* the rule is a full: one */
	RD_K_SHUT = 1 << 4,   /* the destination was closed (RD_SLOT_CLOSED) when it was learned */
};

enum rd_origin {
	RD_ORIGIN_DNS = 1,	/* an answer seen on the wire */
	RD_ORIGIN_RESOLVER = 2, /* routerd's own resolver */
	RD_ORIGIN_TLS = 3,	/* a server name seen in a hello */
};

/* A learned address: value of addresses and of grants. Times are ticks. */
struct rd_known {
	__u64 rule; /* hash of the rule's name */
	__u32 seen;
	__u32 used;
	__u32 expires;
	__u16 target;
	__u8 flags;
	__u8 origin;
};

struct rd_grant_key {
	struct rd_addr addr;
	__u64 client;
};

/*
 * Who a client is: its MAC address on devices with an Ethernet header (then
 * its IPv4 and IPv6 addresses are one client), the interface on others, the
 * router itself on lo.
 */
#define RD_CLIENT_MAC (1ULL << 62)
#define RD_CLIENT_IFINDEX (2ULL << 62)
#define RD_CLIENT_SELF (3ULL << 62)

struct rd_flow_key {
	struct rd_addr client;
	struct rd_addr server;
	__u16 client_port;
	__u16 server_port;
	__u8 proto;
	__u8 pad[3];
};

enum rd_flow_flags {
	RD_FL_SYN = 1 << 0,
	RD_FL_SYNACK = 1 << 1,
	RD_FL_HELLO = 1 << 2, /* the client sent payload */
	RD_FL_DATA = 1 << 3,  /* the server sent payload */
	RD_FL_FIN = 1 << 4,
	RD_FL_RST_CLIENT = 1 << 5,
	RD_FL_RST_SERVER = 1 << 6,
	RD_FL_END = 1 << 7, /* set by the daemon: answer every packet by a reset */
};

struct rd_flow {
	__u64 client_id;
	__u64 tx_bytes; /* from the client */
	__u64 rx_bytes;
	__u64 syn_ns;	/* CLOCK_MONOTONIC of the SYN */
	__u32 tx_packets;
	__u32 rx_packets;
	__u32 created; /* tick */
	__u32 last_tx;
	__u32 last_rx;
	__u32 rtt_us; /* SYN to SYN-ACK; 0: not measured */
	__u32 ack;    /* what the client last acknowledged: its receive-next */
	__u32 ifindex;
	__u16 dest;
	__u8 path;
	__u8 flags;
	__u32 sent;  /* TCP: behind the last octet that the client sent */
	__u32 asked; /* since when an answer is waited for, in 2^20 ns; 0: for none */
	__u32 again; /* packets since then that say again what was said, or datagrams */
};

struct rd_frag_key {
	struct rd_addr src;
	struct rd_addr dst;
	__u32 id; /* network byte order */
	__u32 proto;
};

/* Where routerd's resolver is reached by a device's clients; 0: not in that family. */
struct rd_resolver {
	struct rd_addr v4;
	struct rd_addr v6;
};

/* A query, or a TCP connection for queries, that was turned to the resolver. */
struct rd_query_key {
	struct rd_addr client;
	__u16 port;
	__u16 id; /* of the DNS message; 0 of a connection */
	__u8 proto;
	__u8 pad[3];
};

/* Whom it was meant for. */
struct rd_asked {
	struct rd_addr server;
	__u16 port;
	__u8 mac[6];   /* of the device below */
	__u32 ifindex; /* the WAN device that the answer must come in by; 0: the usual way */
	__u32 seen;
};

/* What events told lately. */
struct rd_told_key {
	__u64 client;
	struct rd_addr server;
	__u32 kind; /* enum rd_event_kind */
	__u32 pad;
};

/* A TLS hello of which a part is still to come. */
#define RD_HELLO_TAIL 264

struct rd_hello {
	struct rd_addr client;
	struct rd_addr server;
	__u32 seq;   /* of the next part; TCP */
	__u32 state; /* of the walk (hello.h); 0: there is none */
	__u32 skip;  /* octets of the next part that do not matter */
	__u32 left;  /* octets of the hello behind them, or from the tail on */
	__u32 carry; /* octets of tail that are used, the last ones of its first half */
	__u16 port;  /* the client's */
	__u16 pad;
	__u8 tail[2 * RD_HELLO_TAIL]; /* one half is what the verifier needs */
};

struct rd_count_key {
	__u16 dest;
	__u8 path;
	__u8 rx; /* 1: to the client */
};

struct rd_count {
	__u64 packets;
	__u64 bytes;
};

/* What connections of a destination over a path came to; rx of the key is 0. */
struct rd_health {
	__u64 rtt_us;	  /* sum over established, units of 2^10 ns */
	__u32 rtt_min_us; /* 0: none */
	__u32 begun;	  /* SYNs of new connections, first datagrams */
	__u32 again;	  /* packets sent again, or datagrams on, with no answer between */
	__u32 established;
	__u32 answered; /* the first octet came back */
	__u32 reset;	/* by the far side, after the client's first octet, before its own */
	__u32 refused;	/* a reset in answer to the SYN */
	__u32 pad;
};

enum rd_stat {
	RD_STAT_ANSWERS,      /* DNS answers parsed */
	RD_STAT_MATCHED,      /* of a listed name */
	RD_STAT_LEARNED,      /* addresses put into the map or refreshed */
	RD_STAT_REFUSED,      /* addresses of exempt ranges */
	RD_STAT_TRUNCATED,    /* of those, with TC */
	RD_STAT_UNPARSED,     /* answers of a listed name that could not be read whole */
	RD_STAT_FULL,	      /* answers whose addresses found no room */
	RD_STAT_WITHHELD,     /* answers dropped because of one of the last two */
	RD_STAT_STEERED,      /* packets given a path */
	RD_STAT_BLOCKED,      /* packets of policy block or of a path that is shut */
	RD_STAT_RESET,	      /* TCP resets sent to clients */
	RD_STAT_GUARDED,      /* packets stopped at the WAN */
	RD_STAT_LOST_EVENTS,  /* events for which the ring had no room */
	RD_STAT_QUERIES,      /* queries turned to the resolver */
	RD_STAT_UNANSWERED,   /* queries of listed names for which no resolver was there */
	RD_STAT_UNTURNED,     /* queries of listed names dropped: they could not be turned */
	RD_STAT_STREAMS,      /* TCP connections turned to the resolver */
	RD_STAT_BYPASS,	      /* packets of DNS over TLS or QUIC refused */
	RD_STAT_DOH,	      /* connections to known resolvers over HTTPS */
	RD_STAT_HELLOS,	      /* server names read in TLS hellos */
	RD_STAT_TLS,	      /* of those, listed ones whose connection was ended */
	RD_STAT_SHARED,	      /* addresses found to be shared with unlisted names */
	RD_STAT_MAX,
};

enum rd_event_kind {
	RD_EV_LEARNED = 1,
	RD_EV_FULL = 2,
	RD_EV_UNPARSED = 3,
	RD_EV_TLS = 4, /* addr is known by the name in a hello */
	RD_EV_DOT = 5, /* addr is a server that a client asks over TLS */
	RD_EV_DOH = 6, /* or over HTTPS */
	RD_EV_SHARED = 7, /* addr are also those of the name, which is not listed */
};

struct rd_event {
	__u64 client;
	__u64 rule;
	__u32 ttl;
	__u32 ifindex;
	__u16 target;
	__u16 addresses; /* entries of addr that are sent */
	__u8 kind;
	__u8 name_len;
	__u8 flags; /* RD_K_FULL, RD_K_GLOBAL */
	__u8 withheld;
	__u8 name[256]; /* wire form, case as it came */
	struct rd_addr addr[RD_RECORDS_MAX];
};

#define RD_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), #type " has another size")

RD_SIZE(struct rd_prefix, 20);
RD_SIZE(struct rd_config, 64);
RD_SIZE(struct rd_rule, 4);
RD_SIZE(struct rd_target, 8);
RD_SIZE(struct rd_clients, 16);
RD_SIZE(struct rd_known, 24);
RD_SIZE(struct rd_grant_key, 24);
RD_SIZE(struct rd_flow_key, 40);
RD_SIZE(struct rd_flow, 80);
RD_SIZE(struct rd_frag_key, 40);
RD_SIZE(struct rd_resolver, 32);
RD_SIZE(struct rd_query_key, 24);
RD_SIZE(struct rd_asked, 32);
RD_SIZE(struct rd_told_key, 32);
RD_SIZE(struct rd_hello, 56 + 2 * RD_HELLO_TAIL);
RD_SIZE(struct rd_count_key, 4);
RD_SIZE(struct rd_health, 40);
RD_SIZE(struct rd_event, 32 + 256 + 16 * RD_RECORDS_MAX);

#endif
