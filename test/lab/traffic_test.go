package lab_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

func counts(t *testing.T, l *lab.Lab, host string) map[netip.Addr]uint64 {
	t.Helper()
	out, err := l.Counts(host)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// protocols are the counts to one address.
func protocols(t *testing.T, l *lab.Lab, host string, a netip.Addr) map[string]lab.Count {
	t.Helper()
	all, err := l.CountsByProtocol(host)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]lab.Count{}
	for _, c := range all {
		if c.Address == a {
			out[c.Protocol] = c
		}
	}
	return out
}

func TestProviderCountsPacketsByAddressAndProtocol(t *testing.T) {
	l, n := labtest.Up(t, lab.Options{}), names(t)["bank.example"]
	if got := counts(t, l, lab.Exit); len(got) != 0 {
		t.Errorf("a fresh lab has counted %v", got)
	}
	for family, a := range map[string]netip.Addr{"4": n.A[0], "6": n.AAAA[0]} {
		labtest.Run(t, l, lab.Client, l.Program(), "client", "udp-echo", "bank.example:7", "--family", family, "--count", "9")
		if got := counts(t, l, lab.ISP)[a]; got != 9 {
			t.Errorf("counted %d packets to %s, want 9", got, a)
		}
		labtest.Run(t, l, lab.Client, "curl", "-sS", "-"+family, "https://bank.example/")
		got := protocols(t, l, lab.ISP, a)
		if got["udp"].Packets != 9 || got["tcp"].Packets < 5 || got["tcp"].Bytes < 500 {
			t.Errorf("counted to %s: %+v", a, got)
		}
	}
	if err := l.ResetCounts(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, l, lab.ISP)[n.A[0]]; got != 0 {
		t.Errorf("%d packets after a reset", got)
	}
}

func TestHostsThatDoNotCountSaySo(t *testing.T) {
	l := sharedLab(t)
	if _, err := l.Counts(lab.Client); !errors.Is(err, lab.ErrNoCounters) {
		t.Errorf("counts of client: %v", err)
	}
	if err := l.LimitCounters(t.Context(), lab.Net, 1); !errors.Is(err, lab.ErrNoCounters) {
		t.Errorf("limit of net: %v", err)
	}
}

func TestCountersThatOverflowAreAnError(t *testing.T) {
	l := labtest.Up(t, lab.Options{})
	if err := l.LimitCounters(t.Context(), lab.ISP, 2); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bank.example", "news.example", "video.example", "www.shopping.example"} {
		labtest.Run(t, l, lab.Client, l.Program(), "client", "udp-echo", name+":7")
	}
	if got, err := l.Counts(lab.ISP); err == nil || !strings.Contains(err.Error(), "were not counted") {
		t.Errorf("full counters give %v, %v", got, err)
	}
}

// ofQuick reads the lab's own wg-quick files, which have no other lines.
func ofQuick(t *testing.T, quick []byte, device string) lab.WireGuardConfig {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(string(quick)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		values[key] = value
	}
	return lab.WireGuardConfig{
		Device: device, MTU: 1420, PersistentKeepalive: 25,
		PrivateKey: values["PrivateKey"], PeerKey: values["PublicKey"],
		PresharedKey: values["PresharedKey"], Endpoint: values["Endpoint"],
		AllowedIPs: prefixesOf(t, values["AllowedIPs"]), Addresses: prefixesOf(t, values["Address"]),
	}
}

// joinTunnel makes the router a plain WireGuard peer of an exit, without
// routerd: a device with no routes but those that a test adds.
func joinTunnel(t *testing.T, l *lab.Lab, name, device string) {
	t.Helper()
	raw, err := l.WGQuick(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(ofQuick(t, raw, device))
	if err != nil {
		t.Fatal(err)
	}
	file := "/run/lab/" + device + ".json"
	if err := l.WriteFile(lab.Router, file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.Program(), "wireguard", file)
	cmd.Stderr = os.Stderr
	if err := l.Start(lab.Router, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, device+" is up", func() bool {
		out, err := l.Run(t.Context(), lab.Router, "ip", "link", "show", "up", "dev", device)
		return err == nil && len(out) > 0
	})
}

func prefixesOf(t *testing.T, list string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for s := range strings.SplitSeq(list, ", ") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestExitsShakeHandsAndCarryTrafficBesideTheProvider(t *testing.T) {
	l, known := labtest.Up(t, lab.Options{}), names(t)
	for _, x := range []struct {
		tunnel, device, host, name string
		seen4, seen6, endpoint     string
	}{
		{"home", "wg-a", lab.Exit, "www.binance.com", lab.ExitSource4, lab.ExitSource6, lab.ExitAddress4},
		{"other", "wg-b", lab.Exit2, "www.okx.com", lab.Exit2Source4, lab.Exit2Source6, lab.Exit2Address},
	} {
		joinTunnel(t, l, x.tunnel, x.device)
		n := known[x.name]
		labtest.Run(t, l, lab.Router, "ip", "route", "add", n.A[0].String(), "dev", x.device)
		labtest.Run(t, l, lab.Router, "ip", "-6", "route", "add", n.AAAA[0].String(), "dev", x.device)
		for option, want := range map[string]string{"-4": x.seen4, "-6": x.seen6} {
			if got := labtest.Run(t, l, lab.Router, "curl", "-sS", option, "https://"+x.name+"/"); !strings.Contains(got, "client "+want+"\n") {
				t.Errorf("through %s the server sees %q, want %s", x.tunnel, got, want)
			}
		}
		if got := labtest.Run(t, l, x.host, "wg", "show", lab.TunnelDevice, "latest-handshakes"); strings.HasSuffix(strings.TrimSpace(got), "\t0") {
			t.Errorf("%s had no handshake: %s", x.host, got)
		}
		inside, outside := counts(t, l, x.host), counts(t, l, lab.ISP)
		for _, a := range []netip.Addr{n.A[0], n.AAAA[0]} {
			if inside[a] == 0 || outside[a] != 0 {
				t.Errorf("%d packets to %s came out of %s, %d crossed the provider", inside[a], a, x.host, outside[a])
			}
		}
		if outside[netip.MustParseAddr(x.endpoint)] == 0 {
			t.Errorf("the provider saw no packet of tunnel %s", x.tunnel)
		}
	}
}

func TestExitReachesLargePagesThroughItsTunnel(t *testing.T) {
	l, known := labtest.Up(t, lab.Options{}), names(t)
	joinTunnel(t, l, "home", "wg-a")
	labtest.Run(t, l, lab.Router, "ip", "route", "add", known["video.example"].A[0].String(), "dev", "wg-a")
	out := labtest.Run(t, l, lab.Router, l.Program(), "client", "fetch", "https://video.example/bytes/4194304")
	if !strings.Contains(out, `"bytes":4194304,`) {
		t.Error(out)
	}
}

func TestFirewallsDoWhatOpenWrtsDo(t *testing.T) {
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			l := labtest.Up(t, lab.Options{Firewall: firewall})
			checkFirewall(t, l)
			version := labtest.Run(t, l, lab.Router, "iptables", "-V")
			if legacy := strings.Contains(version, "legacy"); legacy != (firewall == lab.IPTablesLegacy) {
				t.Errorf("iptables is %s", version)
			}
			rules := labtest.Run(t, l, lab.Router, "nft", "list", "tables")
			if fw4 := strings.Contains(rules, "table inet fw4"); fw4 != (firewall == lab.NFT) {
				t.Errorf("nft tables are %s", rules)
			}
		})
	}
}

// checkFirewall tries what passes and what does not.
func checkFirewall(t *testing.T, l *lab.Lab) {
	t.Helper()
	listen := exec.Command(l.Program(), "serve", "--stratum", ":8080")
	if err := l.Start(lab.Client, listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listen.Process.Kill(); _ = listen.Wait() })
	connects := func(host, to, port string) bool {
		_, err := l.Run(t.Context(), host, "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/"+to+"/"+port)
		return err == nil
	}
	eventually(t, "client2 reaches client within the LAN", func() bool { return connects(lab.Client2, "192.168.1.10", "8080") })
	for _, x := range []struct {
		what, host, to, port string
		want                 bool
	}{
		{"LAN to WAN, IPv4", lab.Client, lab.Resolver4, "53", true},
		{"LAN to WAN, IPv6", lab.Client, lab.Resolver6, "53", true},
		{"LAN to the router", lab.Client, lab.RouterLAN4, "53", true},
		{"WAN to a client, IPv6", lab.Net, "2d00:1:1::10", "8080", false},
		{"WAN to the router, IPv4", lab.Net, lab.RouterWAN4, "53", false},
		{"WAN to the router, IPv6", lab.Net, lab.RouterWAN6, "53", false},
	} {
		if got := connects(x.host, x.to, x.port); got != x.want {
			t.Errorf("%s: connects is %v, want %v", x.what, got, x.want)
		}
	}
	labtest.Run(t, l, lab.Net, "ping", "-c1", "-W2", lab.RouterWAN4)
	labtest.Run(t, l, lab.Net, "ping", "-c1", "-W2", "2d00:1:1::10")
}

func TestFirewallsKeepNFTAndIPTablesApart(t *testing.T) {
	l := sharedLab(t)
	path := filepath.Join("/etc", "alternatives", "iptables")
	before, err := os.Readlink(path)
	if err != nil {
		t.Fatalf("this machine has no alternatives of iptables, as Debian has: %v", err)
	}
	legacy := labtest.Up(t, lab.Options{Firewall: lab.IPTablesLegacy})
	if got := strings.TrimSpace(labtest.Run(t, legacy, lab.Router, "readlink", path)); got != "/usr/sbin/iptables-legacy" {
		t.Errorf("the router's iptables is %s", got)
	}
	for what, got := range map[string]string{
		"of another lab": strings.TrimSpace(labtest.Run(t, l, lab.Router, "readlink", path)),
		"on the machine": func() string { s, _ := os.Readlink(path); return s }(),
	} {
		if got != before {
			t.Errorf("iptables %s is %s, was %s", what, got, before)
		}
	}
}
