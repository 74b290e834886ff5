package bench

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// measured runs a whole measurement, as short as it can be, and looks for values: what
// it finds is not judged.
func measured(t *testing.T, name string, rows int) []Row {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: makes network namespaces and loads BPF programs")
	}
	got, err := Run(t.Context(), name, Options{Program: buildRouterd(t), Rounds: 1, Each: time.Second, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		compared := r.Base != "–"
		if len(r.Got) == 0 || compared && len(r.Theirs) != len(r.Got) {
			t.Errorf("%+v: want as many values of each", r)
		}
		if slices.Min(append(r.Got, r.Theirs...)) <= 0 {
			t.Errorf("%+v: want values above zero", r)
		}
	}
	if len(got) != rows {
		t.Errorf("%d rows, want %d", len(got), rows)
	}
	return got
}

func TestMeasuresForwarding(t *testing.T) { measured(t, "forward", len(passages())+4) }

// One of them alone may seem to take less than nothing on a machine with other work.
func TestMeasuresPrograms(t *testing.T) {
	rows := measured(t, "programs", 8)
	var ours, nothing float64
	for _, r := range rows {
		ours, nothing = ours+median(r.Got), nothing+median(r.Theirs)
	}
	if ours < 2*nothing {
		t.Errorf("all programs take %.0f ns, as many that do nothing %.0f: %+v", ours, nothing, rows)
	}
}

func TestMeasuresReloads(t *testing.T) { measured(t, "reload", 13) }

func TestMeasuresWireGuard(t *testing.T) { measured(t, "wireguard", 4) }

func TestEveryTargetOfForwardingIsCompared(t *testing.T) {
	targets := map[float64]int{}
	for _, p := range passages() {
		targets[p.row.Target]++
		checkPassage(t, p)
	}
	if targets[leastUnsteered] != 8 || targets[leastSteered] != 8 || targets[leastFlat] != 2 {
		t.Errorf("comparisons by target: %v", targets)
	}
}

func checkPassage(t *testing.T, p passage) {
	t.Helper()
	if p.base == p.ours || p.listed && (p.base == plainRouter || p.ours == plainRouter) {
		t.Errorf("%+v compares nothing", p)
	}
	if st, by := p.traffic(); p.listed != (by == secondDevice) || p.listed != (st.to == firstListed()) {
		t.Errorf("%+v: traffic to %s by %s", p, st.to, by)
	}
	if p.listed && p.base == fewSet && p.addresses > few {
		t.Errorf("%+v goes to addresses that are not listed", p)
	}
}

func TestPacketsOfAStreamAreSound(t *testing.T) {
	s := stream{
		client: clientMAC(), router: clientMAC(), from: benchClient(), to: netip.MustParseAddr("22.64.0.254"),
		addresses: 3, flows: 7, size: 100,
	}
	for flow := range s.flows {
		b := s.packet(flow)
		ip := b[etherLen:]
		if len(b) != s.size || headerSum(ip[:ipLen]) != 0 || binary.BigEndian.Uint16(ip[2:]) != uint16(s.size-etherLen) {
			t.Errorf("flow %d: %x is no sound packet of %d octets", flow, b, s.size)
		}
		to, _ := netip.AddrFromSlice(ip[16:20])
		if want := []string{"22.64.0.254", "22.64.0.255", "22.64.1.0"}[flow%3]; to.String() != want {
			t.Errorf("flow %d goes to %s, want %s", flow, to, want)
		}
		if port := binary.BigEndian.Uint16(ip[20:]); port != uint16(firstPort+flow) {
			t.Errorf("flow %d comes from port %d", flow, port)
		}
	}
	tcp := datagram{to: clientMAC(), from: clientMAC(), source: netip.AddrPortFrom(s.from, 1), target: netip.AddrPortFrom(s.to, 2), flags: tcpSYN}.frame()
	if len(tcp) != etherLen+ipLen+20 || tcp[etherLen+9] != 6 || tcp[etherLen+ipLen+13] != tcpSYN {
		t.Errorf("%x is no SYN", tcp)
	}
}

func TestSetsHoldWhatIsSentTo(t *testing.T) {
	s := dnsmasqSettings(names(3))
	if want := "nftset=/host2.zone2.listed.example/4#inet#bench#listed\n"; strings.Count(string(s), "nftset=") != 3 || !strings.HasSuffix(string(s), want) {
		t.Errorf("settings of dnsmasq:\n%s", s)
	}
}

func TestReadsMemoryOfAProcess(t *testing.T) {
	if got, err := parseResident("Name:\tx\nVmRSS:\t    1000 kB\nRssAnon: 1 kB\n"); err != nil || got != 1.024 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "VmSize: 3 kB\n", "VmRSS: many kB\n"} {
		if got, err := parseResident(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestReadsTheLabsTunnel(t *testing.T) {
	const quick = "[Interface]\nPrivateKey = a=\nAddress = 10.51.0.2/32, fd51::2/128\n\n[Peer]\nPublicKey = b=\n" +
		"PresharedKey = c=\nEndpoint = 22.51.0.1:51820\nAllowedIPs = 0.0.0.0/0, ::/0\nPersistentKeepalive = 25\n"
	c, err := plainConfig(quick)
	if err != nil || c.PrivateKey != "a=" || c.PeerKey != "b=" || c.PresharedKey != "c=" || c.Endpoint != "22.51.0.1:51820" ||
		len(c.Addresses) != 2 || len(c.AllowedIPs) != 2 || !c.Userspace {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := plainConfig("Address = here\n"); err == nil {
		t.Error("an address that is none was read")
	}
}
