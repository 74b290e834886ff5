/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * watch: whether a packet to an address that is not listed may concern us all
 * the same. Every such packet pays for this: shapes that are common are read in
 * place, and what cannot be read so may concern us.
 */
#ifndef RD_WATCH_H
#define RD_WATCH_H

#include "hello.h"

#define RD_F_WATCH (RD_F_RESOLVE | RD_F_LOCAL_DNS | RD_F_TLS)

/* A packet to port 443 whose transport header is at l4 (offset off of the data). */
static __always_inline int watch_web(struct __sk_buff *skb, const struct rd_config *cfg, __u8 *l4,
				     __u32 off, int tcp)
{
	void *end = (void *)(long)skb->data_end;
	__u8 first = 0, *payload;

	if (!tcp)
		return cfg->flags & RD_F_LOCAL_DNS &&
		       (l4 + 9 > (__u8 *)end || (l4[8] & 0xc0) == 0xc0);
	if (l4 + 14 > (__u8 *)end)
		return 1;
	if (l4[13] & TCP_SYN)
		return !!(cfg->flags & RD_F_LOCAL_DNS);
	if (!(cfg->flags & RD_F_TLS))
		return 0;
	payload = l4 + (l4[12] >> 4) * 4;
	if (payload + 1 <= (__u8 *)end)
		first = *payload;
	else
		bpf_skb_load_bytes(skb, off + (l4[12] >> 4) * 4, &first, 1);
	return first == TLS_HANDSHAKE || hello_next(l4[0] << 8 | l4[1], get32(l4 + 4));
}

static __always_inline int watch_port(struct __sk_buff *skb, const struct rd_config *cfg, __u8 *l4,
				      __u32 off, int tcp)
{
	__u32 port = l4[2] << 8 | l4[3];

	if (port == WEB_PORT)
		return watch_web(skb, cfg, l4, off, tcp);
	if (port == DNS_PORT)
		return !!(cfg->flags & RD_F_RESOLVE);
	return port == DOT_PORT && cfg->flags & RD_F_LOCAL_DNS;
}

static __always_inline int watched(struct __sk_buff *skb, int eth, const struct rd_config *cfg)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 off = eth ? ETH_HLEN : 0;
	__u16 type = skb->protocol;
	__u8 *ip = data + off, proto;

	if (!(cfg->flags & RD_F_WATCH))
		return 0;
	if (eth && data + ETH_HLEN <= end)
		type = *(__u16 *)(data + ETH_HLEN - 2);
	if (type == bpf_htons(ETH_P_IP) && data + off + 24 <= end && ip[0] == 0x45) {
		proto = ip[9];
		if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
			return 0;
		return watch_port(skb, cfg, ip + 20, off + 20, proto == IPPROTO_TCP);
	}
	if (type == bpf_htons(ETH_P_IPV6) && data + off + 44 <= end) {
		proto = ip[6];
		if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
			return ext_header(proto);
		return watch_port(skb, cfg, ip + 40, off + 40, proto == IPPROTO_TCP);
	}
	return 1;
}

#endif
