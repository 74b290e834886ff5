package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Keys of no tunnel.
const (
	keyA = "YAnz5TF+lXXJte14tji3zlMNftqzBWR5LGxuaWtnYU4="
	keyC = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	keyD = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="
)

func keyOf(t testing.TB, s string) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

const goodFile = `# from the provider
[Interface]
PrivateKey = ` + keyA + `
Address = 10.9.0.2/32, fd00:9::2/128
DNS = 10.9.0.1, 1.1.1.1   # theirs
MTU = 1380
Table = off

[Peer]
PublicKey = ` + keyC + `
PresharedKey = ` + keyD + `
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example.org:51820
`

func TestParseQuickReadsWhatProvidersGive(t *testing.T) {
	psk := keyOf(t, keyD)
	want := Settings{
		PrivateKey: clamp(keyOf(t, keyA)),
		Addresses:  prefixes("10.9.0.2/32", "fd00:9::2/128"),
		MTU:        1380,
		DNS:        []string{"10.9.0.1", "1.1.1.1"},
		Peers: []Peer{{
			PublicKey: keyOf(t, keyC), PresharedKey: &psk, AllowedIPs: prefixes("0.0.0.0/0", "::/0"),
			Endpoint: Endpoint{Host: "vpn.example.org", Port: 51820}, Keepalive: 25 * time.Second,
		}},
		Notes: []Note{
			{Line: 5, Option: "DNS", Text: "is not used: routerd resolves listed names with option resolver and leaves all other lookups alone"},
			{Line: 7, Option: "Table", Text: "is not used: routerd keeps tables of its own and sends only what you list into the tunnel"},
		},
	}
	forms := map[string]string{
		"as given":           goodFile,
		"Windows line ends":  strings.ReplaceAll(goodFile, "\n", "\r\n"),
		"byte order mark":    "\xef\xbb\xbf" + goodFile,
		"other case, spaces": strings.NewReplacer("[Peer]", " [PEER] ", "PublicKey =", "publickey=", "Endpoint = ", "ENDPOINT  =\t").Replace(goodFile),
		"no last line end":   strings.TrimSpace(goodFile),
		"comma too many":     strings.Replace(goodFile, "::/0", "::/0,", 1),
		"a network twice":    strings.Replace(goodFile, "::/0", "::/0, 0.0.0.0/0", 1),
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			got, err := ParseQuick(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if d := cmp.Diff(want.Notes, got.Notes); d != "" {
				t.Errorf("notes: %s", d)
			}
			if d := cmp.Diff(want.DNS, got.DNS); d != "" {
				t.Errorf("DNS: %s", d)
			}
		})
	}
}

func TestParseQuickDecodesValues(t *testing.T) {
	peer := func(s Settings) Peer { return s.Peers[0] }
	for _, c := range []struct {
		name, from, to string
		ok             func(Settings) bool
	}{
		{"address without bits", "10.9.0.2/32", "10.9.0.2", func(s Settings) bool { return s.Addresses[0].Bits() == 32 }},
		{"keepalive", "Endpoint", "PersistentKeepalive = 15\nEndpoint", func(s Settings) bool { return peer(s).Keepalive == 15*time.Second }},
		{"keepalive off", "Endpoint", "PersistentKeepalive = off\nEndpoint", func(s Settings) bool { return peer(s).Keepalive == 0 }},
		{"keepalive 0", "Endpoint", "PersistentKeepalive = 0\nEndpoint", func(s Settings) bool { return peer(s).Keepalive == 0 }},
		{"IPv4 endpoint", "vpn.example.org", "192.0.2.1", func(s Settings) bool { return peer(s).Endpoint.String() == "192.0.2.1:51820" }},
		{"IPv6 endpoint", "vpn.example.org", "[2001:db8::1]", func(s Settings) bool { return peer(s).Endpoint.String() == "[2001:db8::1]:51820" }},
		{"mapped endpoint", "vpn.example.org", "[::ffff:192.0.2.1]", func(s Settings) bool { return peer(s).Endpoint.Host == "192.0.2.1" }},
		{"upper case name with dot", "vpn.example.org", "VPN.Example.ORG.", func(s Settings) bool { return peer(s).Endpoint.Host == "vpn.example.org" }},
		{"host bits in a network", "0.0.0.0/0", "10.1.2.3/8", func(s Settings) bool { return peer(s).AllowedIPs[0] == netip.MustParsePrefix("10.0.0.0/8") }},
		{"listen port", "MTU = 1380", "ListenPort = 51821", func(s Settings) bool { return s.ListenPort == 51821 && s.MTU == 0 }},
		{"SaveConfig false", "MTU = 1380", "SaveConfig = false", func(s Settings) bool { return true }},
		{"fwmark", "Table = off", "FwMark = 0xca6c", func(s Settings) bool { return s.Notes[1].Option == "FwMark" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseQuick(strings.NewReader(strings.Replace(goodFile, c.from, c.to, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(got) {
				t.Errorf("got %v, notes %v", got, got.Notes)
			}
		})
	}
}

func TestParseQuickSaysWhatIsWrong(t *testing.T) {
	own := keyOf(t, keyA).PublicKey().String()
	for _, c := range []struct{ name, from, to, want string }{
		{"hook", "MTU = 1380", "PostUp = iptables -A FORWARD", "line 6: PostUp: routerd runs no commands from a tunnel file; remove line 6"},
		{"hook in lower case", "MTU = 1380", "predown=true", "line 6: PreDown: routerd runs no commands from a tunnel file; remove line 6"},
		{"save", "MTU = 1380", "SaveConfig = true", "line 6: SaveConfig 'true': routerd never writes to a tunnel file; remove line 6"},
		{
			"amnezia", "MTU = 1380", "Jc = 4", "line 6: Jc: is an option of AmneziaWG, which routerd does not speak: " +
				"create the interface with AmneziaWG's own tools and use it with option type 'interface' and option device",
		},
		{"short key", keyA, keyA[:40], "line 3: PrivateKey: wrong length: a WireGuard key is 44 characters of base64 ending in '=', here are 40"},
		{"no key", keyA, "", "line 3: PrivateKey: wrong length: a WireGuard key is 44 characters of base64 ending in '=', here are 0"},
		{"not base64", keyC, strings.Repeat("*", 44), "line 10: PublicKey: not base64: a WireGuard key is 44 characters of base64 ending in '='"},
		{"zero key", keyC, strings.Repeat("A", 43) + "=", "line 10: PublicKey: is all zeros, which is no key: make one with `wg genkey`"},
		{"key twice", "MTU = 1380", "PrivateKey = " + keyC, "line 6: PrivateKey: stands twice: keep one"},
		{"own key as peer", keyC, own, "line 9: PublicKey: belongs to this tunnel's own PrivateKey: put the peer's key here"},
		{"no endpoint", "Endpoint = vpn.example.org:51820", "", "line 9: Endpoint: is missing in this [Peer]: routerd must know where to send, such as vpn.example.org:51820"},
		{"no networks", "AllowedIPs = 0.0.0.0/0, ::/0", "", "line 9: AllowedIPs: is missing in this [Peer]: nothing could pass the tunnel; usual is 0.0.0.0/0, ::/0"},
		{"no public key", "PublicKey = " + keyC, "", "line 9: PublicKey: is missing in this [Peer]"},
		{"no private key", "PrivateKey = " + keyA, "", "line 2: PrivateKey: is missing: the tunnel's provider gives it, or `wg genkey` makes one"},
		{"no address", "Address = 10.9.0.2/32, fd00:9::2/128", "", "line 2: Address: is missing: it is this router's address inside the tunnel, such as 10.9.0.2/32"},
		{"bad network", "0.0.0.0/0", "10.0.0.0/33", "line 12: AllowedIPs '10.0.0.0/33': not a network: allowed is ADDRESS/BITS, such as 0.0.0.0/0 or ::/0"},
		{"bad address", "10.9.0.2/32", "10.9.0.256", "line 4: Address '10.9.0.256': not an address: allowed is ADDRESS or ADDRESS/BITS, such as 10.9.0.2/32 or fd00::2/128"},
		{"loopback", "10.9.0.2/32", "127.0.0.1/8", "line 4: Address '127.0.0.1/8': cannot be the address of a device: use the one that the tunnel's provider gave you"},
		{"MTU", "1380", "99999", "line 6: MTU '99999': not an MTU: allowed is 576 to 9000; leave the option out for the right one"},
		{"MTU too small for IPv6", "1380", "1000", "line 2: MTU: is 1000, but IPv6 needs at least 1280: raise it, or remove the IPv6 address"},
		{"port", "MTU = 1380", "ListenPort = 70000", "line 6: ListenPort '70000': not a port: allowed is 0 to 65535"},
		{"keepalive", "MTU = 1380\nTable = off\n\n[Peer]", "[Peer]\nPersistentKeepalive = 25s", "line 7: PersistentKeepalive '25s': not a number of seconds: allowed is 0 to 65535, or off; 25 suits most"},
		{"endpoint without port", "vpn.example.org:51820", "vpn.example.org", "line 13: Endpoint 'vpn.example.org': has no port: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{"endpoint port 0", ":51820", ":0", "line 13: Endpoint 'vpn.example.org:0': not a port: allowed is 1 to 65535"},
		{"IPv6 without brackets", "vpn.example.org:51820", "2001:db8::1", "line 13: Endpoint '2001:db8::1': an IPv6 address needs brackets and a port: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{"bad brackets", "vpn.example.org", "[2001:db8::1", "line 13: Endpoint '[2001:db8::1:51820': no IPv6 address in the brackets: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{"mistyped address", "vpn.example.org", "192.0.2.256", "line 13: Endpoint '192.0.2.256:51820': neither a name nor an address: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820; write an international name in its xn-- form"},
		{"nowhere", "vpn.example.org", "0.0.0.0", "line 13: Endpoint '0.0.0.0:51820': is not the address of a host: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{"unknown option", "MTU = 1380", "Mtuu = 1380", "line 6: Mtuu: unknown in [Interface]: allowed are Address, DNS, FwMark, ListenPort, MTU, PrivateKey, Table"},
		{"option of the other section", "MTU = 1380", "Endpoint = a:1", "line 6: Endpoint: unknown in [Interface]: allowed are Address, DNS, FwMark, ListenPort, MTU, PrivateKey, Table"},
		{"unknown peer option", "Endpoint", "Endpunkt", "line 13: Endpunkt: unknown in [Peer]: allowed are AllowedIPs, Endpoint, PersistentKeepalive, PresharedKey, PublicKey"},
		{"option twice", "Table = off", "MTU = 1400", "line 7: MTU: stands twice, on line 6 too: keep one"},
		{"unknown section", "[Peer]", "[Pear]", "line 9: unknown section '[Pear]': allowed are [Interface] and [Peer]"},
		{"second interface", "[Peer]", "[Interface]", "line 9: a second [Interface]; the first is on line 2: one file is one tunnel"},
		{"garbage", "MTU = 1380", "hello", "line 6: not a setting: a line is OPTION = VALUE, a [section] or a # comment"},
		{"before a section", "# from the provider", "MTU = 1380", "line 1: MTU: stands before the first section: put [Interface] above it"},
		{"key alone on a line", "MTU = 1380", keyD, "line 6: (hidden): unknown in [Interface]: allowed are Address, DNS, FwMark, ListenPort, MTU, PrivateKey, Table"},
		{"key as another option", "MTU = 1380", "MTU = " + keyD, "line 6: MTU '(hidden)': not an MTU: allowed is 576 to 9000; leave the option out for the right one"},
		{"binary", "MTU", "M\x00U", "is not text: save the file as plain text (UTF-8)"},
		{"not UTF-8", "MTU", "M\xffU", "is not text: save the file as plain text (UTF-8)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(goodFile, c.from, c.to, 1)
			s, err := ParseQuick(strings.NewReader(text))
			if err == nil {
				t.Fatalf("accepted as %v", s)
			}
			if first, _, _ := strings.Cut(err.Error(), "\n"); first != c.want {
				t.Errorf("got\n%s\nwant\n%s", first, c.want)
			}
			if fs := Faults(nil); !errors.As(err, &fs) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

func TestParseQuickReportsEveryFaultAtOnce(t *testing.T) {
	text := strings.NewReplacer("1380", "1", "10.9.0.2/32", "x", ":51820", "").Replace(goodFile)
	_, err := ParseQuick(strings.NewReader(text))
	fs := Faults(nil)
	if !errors.As(err, &fs) || len(fs) != 3 {
		t.Fatalf("faults: %v", err)
	}
	if fs[0].Option != "Address" || fs[1].Option != "MTU" || fs[2].Option != "Endpoint" {
		t.Errorf("faults: %v", err)
	}
	if f := (*Fault)(nil); !errors.As(err, &f) || f.Line != 4 || f.Value != "x" {
		t.Errorf("first fault: %+v", f)
	}
}

func TestParseQuickRefusesWhatPeersCannotShare(t *testing.T) {
	second := "[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = a.example:1\n"
	for _, c := range []struct{ key, network, want string }{
		{keyC, "10.0.0.0/8", "line 14: PublicKey: is that of the [Peer] on line 9 too: join the two"},
		{keyD, "::/0", "line 14: AllowedIPs '::/0': belongs to the [Peer] on line 9 too: one network has one peer"},
		{keyD, "10.0.0.0/8", ""},
	} {
		_, err := ParseQuick(strings.NewReader(goodFile + fmt.Sprintf(second, c.key, c.network)))
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("got %s, want %q", got, c.want)
		}
	}
}

func TestParseQuickIsBounded(t *testing.T) {
	many := func(n int, line string) string { return strings.Repeat(line, n) }
	for _, c := range []struct{ name, text, want string }{
		{"size", goodFile + many(maxFileSize, "#"), "longer than 64 KiB"},
		{"peers", goodFile + many(maxPeers, "[Peer]\n"), "more than 64 peers"},
		{"addresses", strings.Replace(goodFile, "[Interface]\n", "[Interface]\nAddress = "+addresses(17)+"\n", 1), "more than 16 addresses"},
		{"networks", goodFile + "AllowedIPs = " + addresses(4100), "more than 4096 networks"},
		{"faults", goodFile + many(1000, "x\n"), "not a setting"},
		{"nothing", "", "has no [Interface] section"},
		{"no peer", "[Interface]\n", "has no [Peer] section"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseQuick(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v", err)
			}
			if fs := Faults(nil); errors.As(err, &fs) && len(fs) > maxFaults {
				t.Errorf("%d faults", len(fs))
			}
		})
	}
}

func addresses(n int) string {
	list := make([]string, n)
	a := netip.MustParseAddr("10.0.0.1")
	for i := range list {
		list[i] = a.String()
		a = a.Next()
	}
	return strings.Join(list, ",")
}

func TestExamplesOfProvidersParse(t *testing.T) {
	files, err := filepath.Glob("testdata/quick/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		if _, err := ParseQuick(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzParseQuick(f *testing.F) {
	files, _ := filepath.Glob("testdata/quick/*.conf")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(goodFile))
	f.Add([]byte(strings.Replace(goodFile, "MTU = 1380", keyD, 1)))
	f.Add([]byte(strings.Replace(goodFile, "MTU = 1380", "PostUp = "+keyD, 1)))
	f.Add([]byte("[Interface]\n[Peer]\n= \n[\n]=\nEndpoint=[::]:"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseQuick(bytes.NewReader(data))
		if err != nil {
			if leak := keyLike.FindString(err.Error()); leak != "" {
				t.Errorf("an error shows %q", leak)
			}
			return
		}
		again, err := ParseQuick(bytes.NewReader(formatQuick(s)))
		if err != nil || !again.Equal(s) {
			t.Errorf("%v written and read again is %v (%v)", s, again, err)
		}
		if keyLike.MatchString(regexp.MustCompile(`endpoint \S+`).ReplaceAllString(s.String(), "")) {
			t.Errorf("settings print as %s", s)
		}
	})
}

// keyLike is what must not be shown.
var keyLike = regexp.MustCompile(`[A-Za-z0-9+/=_-]{20,}`)
