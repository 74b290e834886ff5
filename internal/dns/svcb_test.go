package dns

import (
	"net/netip"
	"slices"
	"testing"

	peer "github.com/miekg/dns"
)

// svcbData packs a record given as text and gives its data.
func svcbData(t testing.TB, text string) []byte {
	t.Helper()
	raw := packed(t, "a.test.", peer.TypeHTTPS, "a.test. 60 IN HTTPS "+text)
	w := walk(raw)
	if !w.next() {
		t.Fatal(w.err)
	}
	return raw[w.data:w.end]
}

func TestWithoutIPv6Hint(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"1 . alpn=h2", "1 . alpn=h2"},
		{"1 .", "1 ."},
		{"0 b.test.", "0 b.test."},
		{"1 . ipv6hint=2001:db8::1", "1 ."},
		{"1 b.test. alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1,2001:db8::2", "1 b.test. alpn=h2,h3 ipv4hint=192.0.2.1"},
		{"1 . mandatory=ipv6hint ipv6hint=2001:db8::1", "1 ."},
		{"1 . mandatory=alpn,ipv6hint alpn=h2 ipv6hint=2001:db8::1", "1 . mandatory=alpn alpn=h2"},
		{"1 . mandatory=alpn alpn=h2 port=8443 ipv6hint=2001:db8::1 key65000=x", "1 . mandatory=alpn alpn=h2 port=8443 key65000=x"},
		{"1 . ech=AAAA ipv6hint=2001:db8::1 dohpath=/q{?dns}", "1 . ech=AAAA dohpath=/q{?dns}"},
	} {
		got, err := withoutIPv6Hint(svcbData(t, c.in))
		must(t, err)
		if want := svcbData(t, c.want); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %x\nwant %x", c.in, got, want)
		}
	}
}

func TestMalformedSVCBIsRefusedAndTeachesNothing(t *testing.T) {
	good := svcbData(t, "1 b.test. ipv4hint=192.0.2.1 ipv6hint=2001:db8::1")
	for name, data := range map[string][]byte{
		"empty":                {},
		"priority only":        good[:2],
		"target cut off":       good[:6],
		"compressed target":    {0, 1, 0xc0, 12},
		"parameter cut off":    good[:len(good)-1],
		"parameter's head":     good[:len(good)-18],
		"value longer than it": append(slices.Clone(good), 0, 9, 0, 1),
	} {
		if _, err := withoutIPv6Hint(data); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := appendHints(nil, data); len(got) != 0 {
			t.Errorf("%s: taught %v", name, got)
		}
	}
	if got := appendHints(nil, good); !slices.Equal(got, addrs("192.0.2.1", "2001:db8::1")) {
		t.Errorf("hints %v", got)
	}
}

func FuzzSVCBFilter(f *testing.F) {
	for _, text := range []string{
		"1 . ipv6hint=2001:db8::1", "1 b.test. mandatory=alpn,ipv6hint alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1", "0 b.test.",
	} {
		f.Add(svcbData(f, text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := withoutIPv6Hint(data)
		if err != nil {
			return
		}
		if len(out) > len(data) {
			t.Errorf("%x grew to %x", data, out)
		}
		if slices.ContainsFunc(appendHints(nil, out), netip.Addr.Is6) {
			t.Errorf("%x still has a hint: %x", data, out)
		}
		again, err := withoutIPv6Hint(out)
		if err != nil || !slices.Equal(again, out) {
			t.Errorf("filtering %x again gave %x, %v", out, again, err)
		}
	})
}
