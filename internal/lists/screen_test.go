package lists

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/catalogue"
)

func TestListsCannotSteerWhatIsPrivateOrEverybodys(t *testing.T) {
	s := newScreen()
	for rule, want := range map[string]string{
		"example.org": "", "full:co.uk": "", "a.co.uk": "", "github.io": "", "full:a.b.example": "", "xn--e1afmkfd.xn--p1ai": "",
		"22.0.0.0/8": "", "22.1.2.3": "", "2d00::/16": "", "2d00::1": "", "64:ff9b::1601:203": "", "64:ff9b::1600:0/104": "",
		"co.uk": "public suffix", "com.cn": "public suffix", "msk.ru": "",
		"router.lan": "local", "full:nas.local": "local", "1.168.192.in-addr.arpa": "local", "x.home.arpa": "local", "a.localhost": "local", "b.internal": "local",
		"0.0.0.0/0": "wider than /8", "22.0.0.0/7": "wider than /8", "::/0": "NAT64", "2000::/3": "wider than /16", "2c00::/15": "wider than /16",
		"10.0.0.0/8": "10.0.0.0/8", "192.168.1.1": "192.168.0.0/16", "192.0.0.0/8": "private or reserved", "127.0.0.1": "127.0.0.0/8",
		"169.254.0.0/16": "private", "224.0.0.1": "224.0.0.0/4", "fe80::/16": "private", "fc00::/16": "private", "::1": "private", "ff02::1": "private",
		"64:ff9b::/96": "wider than /8", "64:ff9b::a00:1": "10.0.0.0/8", "64:ff9b::/64": "NAT64",
	} {
		r, err := catalogue.ParseRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		err = s.refuse(r)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s is refused: %v", rule, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}
