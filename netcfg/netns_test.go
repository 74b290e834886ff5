package netcfg

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/routerd/routerd/internal/owned"
)

var update = flag.Bool("update", false, "write the golden files anew")

// enterNetns puts the test into a fresh network namespace. The test's thread
// stays in it and ends with the test.
func enterNetns(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	run(t, "ip link set lo up")
}

// run runs commands, one a line, and gives what they print.
func run(t *testing.T, lines string) string {
	t.Helper()
	var out bytes.Buffer
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		args := strings.Fields(line)
		if len(args) == 0 {
			continue
		}
		b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, b)
		}
		out.Write(b)
	}
	return out.String()
}

// input runs a command with text on its standard input.
func input(t *testing.T, text, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(text)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, b)
	}
}

// routerNetns is a router: LAN, WAN, one tunnel of ours, one of the user's.
func routerNetns(t *testing.T) {
	t.Helper()
	enterNetns(t)
	run(t, `
ip link add br-lan type veth peer name peer-br-lan
ip link set peer-br-lan up
ip link add wan type veth peer name peer-wan
ip link set peer-wan up
ip link add rd-home type veth peer name peer-rd-hom
ip link set peer-rd-hom up
ip link add awg0 type veth peer name peer-awg0
ip link set peer-awg0 up
ip addr add 192.168.1.1/24 dev br-lan
ip addr add 2001:db8:1::1/64 dev br-lan nodad
ip addr add 198.51.100.2/24 dev wan
ip addr add 2001:db8:2::2/64 dev wan nodad
ip addr add 10.9.0.2/32 dev rd-home
ip addr add fd09::2/128 dev rd-home nodad
ip link set rd-home mtu 1420
ip link set br-lan up
ip link set wan up
ip link set rd-home up
ip link set awg0 up
ip route add default via 198.51.100.1 dev wan
ip -6 route add default via 2001:db8:2::1 dev wan
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv6.conf.all.forwarding=1
`)
}

const (
	pathHome  = owned.PathTunnel0
	pathOther = owned.PathTunnel0 + 1
)

// desired is the state of routerNetns that most tests start from.
func desired() Desired {
	return Desired{
		Mask: owned.DefaultMask,
		LAN:  []string{"br-lan"},
		WAN:  []string{"wan"},
		IPv6: true,
		Paths: []Path{
			{Index: owned.PathDirect, Name: "direct", Up: true, IPv4: true, IPv6: true},
			{Index: owned.PathBlock, Name: "block"},
			{
				Index: pathHome, Name: "home", Device: "rd-home", Up: true, IPv4: true, IPv6: true,
				Addresses:  []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd09::2")},
				Masquerade: true,
			},
			{Index: pathOther, Name: "other", Device: "awg0", Up: true, IPv4: true},
		},
		Own: []OwnRoute{
			{
				Destination: "exchanges", ID: 5, Path: pathHome,
				Prefixes: []netip.Prefix{
					netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:5::/48"),
				},
				Addresses: addrs("192.0.2.10", "203.0.113.9", "2001:db8:9::1"),
			},
			{Destination: "pools", ID: 6, Path: pathOther, Addresses: addrs("192.0.2.20", "2001:db8:9::2")},
		},
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func newNet(t *testing.T, opts ...Option) *Net {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	n, err := New(log, opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return n
}

func apply(t *testing.T, n *Net, d Desired) Reached {
	t.Helper()
	r, err := n.Apply(context.Background(), d)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return r
}

// dump is everything that a Net may change, as the tools show it.
func dump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, cmd := range []string{
		"nft list ruleset",
		"ip -4 rule", "ip -6 rule",
		"ip -4 -d route show table all", "ip -6 -d route show table all",
	} {
		b.WriteString("# " + cmd + "\n" + run(t, cmd))
	}
	confs, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range confs {
		v, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(f + " " + string(v))
	}
	return tidy(b.String())
}

// tidy removes what differs from run to run: prints of rules, which depend on
// the byte order, counters and multicast routes that come with time.
func tidy(s string) string {
	s = regexp.MustCompile(` #[0-9a-f]{8}"`).ReplaceAllString(s, `"`)
	s = regexp.MustCompile(`packets \d+ bytes \d+`).ReplaceAllString(s, "packets N bytes N")
	var keep []string
	for _, l := range strings.Split(s, "\n") {
		if !strings.Contains(l, "fe80::") && !strings.Contains(l, "multicast ff00::") {
			keep = append(keep, strings.TrimRight(l, " \t"))
		}
	}
	return strings.Join(keep, "\n")
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// same fails when two dumps differ.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
