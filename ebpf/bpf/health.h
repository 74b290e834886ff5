/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * health: what a flow waits for, and what connections came to. Nothing here
 * decides about a packet; the daemon judges paths by it.
 */
#ifndef RD_HEALTH_H
#define RD_HEALTH_H

#include "choose.h"

/* What a packet says of its connection, by the fields of rd_health. */
enum sign {
	SIGN_BEGUN = 1 << 0,
	SIGN_AGAIN = 1 << 1,
	SIGN_ESTABLISHED = 1 << 2,
	SIGN_ANSWERED = 1 << 3,
	SIGN_RESET = 1 << 4,
	SIGN_REFUSED = 1 << 5,
};

static __always_inline struct rd_health *health_get(const struct rd_flow *f)
{
	struct rd_count_key key = {.dest = f->dest, .path = f->path};
	struct rd_health *h = bpf_map_lookup_elem(&health, &key), zero = {};

	if (h)
		return h;
	bpf_map_update_elem(&health, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&health, &key);
}

static __always_inline void health_add(const struct rd_flow *f, __u32 signs)
{
	struct rd_health *h;

	if (!signs)
		return;
	h = health_get(f);
	if (!h)
		return;
	h->begun += !!(signs & SIGN_BEGUN);
	h->again += !!(signs & SIGN_AGAIN);
	h->answered += !!(signs & SIGN_ANSWERED);
	h->reset += !!(signs & SIGN_RESET);
	h->refused += !!(signs & SIGN_REFUSED);
	if (!(signs & SIGN_ESTABLISHED))
		return;
	h->established++;
	h->rtt_us += f->rtt_us;
	if (f->rtt_us && (!h->rtt_min_us || f->rtt_us < h->rtt_min_us))
		h->rtt_min_us = f->rtt_us;
}

/*
 * Notes that a client's packet wants an answer, if it does: a SYN, a FIN, data
 * or a datagram. What has been said before and not been answered since is said
 * again: a TCP segment that ends no further than the last, any further datagram.
 */
static __always_inline __u32 flow_asks(struct rd_flow *f, const struct packet *p, __u32 now)
{
	__u32 octets = packet_payload_len(p), again = f->asked;

	if (p->proto == IPPROTO_TCP) {
		octets += !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
		if (p->tcp_flags & TCP_RST)
			f->asked = 0; /* the client waits no longer */
		if (!octets || p->tcp_flags & TCP_RST)
			return 0;
		octets += p->seq;
		again = again && (__s32)(octets - f->sent) <= 0;
		if (!again)
			f->sent = octets;
	}
	if (!f->asked) {
		f->asked = now;
		f->again = 0;
	}
	if (!again)
		return 0;
	f->again++;
	return SIGN_AGAIN;
}

/* What the flags that are new with a packet to the client say. */
static __always_inline __u32 flow_came_to(__u8 before, __u8 news)
{
	__u32 signs = 0;

	if (news & RD_FL_SYNACK)
		signs |= SIGN_ESTABLISHED;
	if (news & RD_FL_DATA)
		signs |= SIGN_ANSWERED;
	if (!(news & RD_FL_RST_SERVER) || (before | news) & RD_FL_DATA)
		return signs;
	if (before & RD_FL_HELLO)
		signs |= SIGN_RESET;
	else if ((before & (RD_FL_SYN | RD_FL_SYNACK)) == RD_FL_SYN)
		signs |= SIGN_REFUSED;
	return signs;
}

#endif
