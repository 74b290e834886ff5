package tunnel

import "testing"

func TestNudgeTargetIsAnAddressOfThePeer(t *testing.T) {
	for _, c := range []struct {
		name      string
		addresses []string
		allowed   []string
		want      string
	}{
		{"everything, host address", []string{"10.9.0.2/32"}, []string{"0.0.0.0/0"}, "10.9.0.3"},
		{"everything, network", []string{"10.9.0.2/24"}, []string{"0.0.0.0/0"}, "10.9.0.3"},
		{"not the broadcast address", []string{"10.9.0.254/24"}, []string{"0.0.0.0/0"}, "10.9.0.252"},
		{"not the network address", []string{"10.9.0.1/24"}, []string{"0.0.0.0/0"}, "10.9.0.3"},
		{"network of two hosts", []string{"10.9.0.1/30"}, []string{"0.0.0.0/0"}, "10.9.0.2"},
		{"point to point", []string{"10.9.0.0/31"}, []string{"0.0.0.0/0"}, "10.9.0.1"},
		{"only the peer's own", []string{"10.9.0.9/24"}, []string{"10.9.0.1/32"}, "10.9.0.1"},
		{"a network elsewhere", []string{"10.9.0.9/24"}, []string{"172.16.0.0/16"}, "172.16.0.1"},
		{"IPv6 network", []string{"fd00:9::2/64"}, []string{"::/0"}, "fd00:9::3"},
		{"IPv6 host address", []string{"fd00:9::2/128"}, []string{"::/0"}, "ff02::1"},
		{"IPv6 host address, few networks", []string{"fd00:9::2/128"}, []string{"fd00:9::1/128"}, "invalid IP"},
		{"IPv4 networks without an IPv4 address", []string{"fd00:9::2/128"}, []string{"10.0.0.0/8"}, "invalid IP"},
		{"nothing", nil, nil, "invalid IP"},
	} {
		if got := nudgeTarget(prefixes(c.addresses...), prefixes(c.allowed...)); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
