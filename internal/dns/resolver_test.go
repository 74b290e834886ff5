package dns

import (
	"context"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestLookupOverEveryTransportAndFamily(t *testing.T) {
	u := startUnbound(t)
	for _, text := range []string{
		"udp://127.0.0.53", "tcp://127.0.0.53", "tls://127.0.0.53", "https://127.0.0.53/dns-query",
		"udp://[2001:db8:f::53]:53", "tls://[2001:db8:f::53]", "https://[2001:db8:f::53]/dns-query",
		"tls://dns.example#127.0.0.53", "https://dns.example/dns-query#2001:db8:f::53", "https://dns.example#127.0.0.53",
	} {
		t.Run(text, func(t *testing.T) {
			r := newResolver(t, u.roots, nil, text)
			got, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA)
			must(t, err)
			if !slices.Equal(got.Addrs, addrs("198.51.100.10")) || got.TTL != 300 || got.Rcode != 0 {
				t.Errorf("got %+v", got)
			}
			got, err = r.Lookup(context.Background(), 1, "none.test", dnsmessage.TypeA)
			must(t, err)
			if got.Rcode != 3 || got.TTL != 120 || got.Addrs != nil {
				t.Errorf("got %+v", got)
			}
			got, err = r.Lookup(context.Background(), 1, "big.test", dnsmessage.TypeTXT)
			must(t, err)
			if got.TTL != 300 {
				t.Errorf("got %+v", got)
			}
		})
	}
}
