package upstream

import (
	"net/netip"
	"slices"
	"testing"
)

func TestKnownResolversAreUpstreamsWithoutFurtherAddresses(t *testing.T) {
	noIPv6 := []string{"doh.pub", "doh.libredns.gr"}
	for _, known := range KnownDoH() {
		u, err := Parse("https://" + known.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(u.Addrs(), known.Addrs) {
			t.Errorf("%s: upstream has %v, table %v", known.Name, u.Addrs(), known.Addrs)
		}
		for _, is6 := range []bool{false, true} {
			has := slices.ContainsFunc(known.Addrs, func(a netip.Addr) bool { return a.Is6() == is6 })
			if has == (is6 && slices.Contains(noIPv6, known.Name)) {
				t.Errorf("%s: an address with IPv6 %v: %v", known.Name, is6, has)
			}
		}
	}
}

func TestKnownResolversStandOnceWithPublicAddresses(t *testing.T) {
	seen := map[string]bool{}
	for _, known := range KnownDoH() {
		if seen[known.Name] {
			t.Errorf("%s stands twice", known.Name)
		}
		seen[known.Name] = true
		sorted := slices.Clone(known.Addrs)
		slices.SortFunc(sorted, netip.Addr.Compare)
		if len(slices.Compact(sorted)) != len(known.Addrs) {
			t.Errorf("%s: an address stands twice: %v", known.Name, known.Addrs)
		}
		for _, a := range known.Addrs {
			if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is4In6() {
				t.Errorf("%s: %v is no public address", known.Name, a)
			}
		}
	}
	for _, browser := range []string{"mozilla.cloudflare-dns.com", "chrome.cloudflare-dns.com", "dns.google"} {
		if !seen[browser] {
			t.Errorf("%s, which a browser asks by default, is missing", browser)
		}
	}
}

func TestKnownDoHCannotBeChangedByItsCaller(t *testing.T) {
	first := KnownDoH()
	first[0].Addrs[0] = netip.Addr{}
	first[0].Name = "changed"
	if again := KnownDoH(); again[0].Name == "changed" || !again[0].Addrs[0].IsValid() {
		t.Errorf("a caller changed the table: %+v", again[0])
	}
}
