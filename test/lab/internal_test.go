package lab

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab/authority"
)

func addresses(all ...string) []netip.Addr {
	out := make([]netip.Addr, len(all))
	for i, s := range all {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func TestZoneWritesEveryKindOfRecord(t *testing.T) {
	end := Name{Name: "end.example", A: addresses("22.10.0.2"), AAAA: addresses("2d00:10::2")}
	zone := zoneFile([]Name{
		{Name: "a.example", A: addresses("22.10.0.1", "22.10.0.9"), AAAA: addresses("2d00:10::1")},
		{Name: "chain.example", CNAME: []string{"hop.example", "last.example"}, A: addresses("22.10.0.3")},
		{Name: "alias.example", CNAME: []string{"end.example"}, A: end.A, AAAA: end.AAAA},
		{Name: "https.example", HTTPS: &HTTPSRecord{Priority: 1, ALPN: []string{"h2", "h3"}, Hint4: addresses("22.10.0.4")}},
		end,
	})
	_, body, _ := strings.Cut(zone, ResolverName+". AAAA "+Resolver6+"\n")
	want := BlockPageName + ". A " + BlockPage4 + "\n" + BlockPageName + ". AAAA " + BlockPage6 + `
a.example. A 22.10.0.1
a.example. A 22.10.0.9
a.example. AAAA 2d00:10::1
chain.example. CNAME hop.example.
hop.example. CNAME last.example.
last.example. A 22.10.0.3
alias.example. CNAME end.example.
https.example. HTTPS 1 . alpn=h2,h3 ipv4hint=22.10.0.4
end.example. A 22.10.0.2
end.example. AAAA 2d00:10::2
`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("zone (-want +got):\n%s", diff)
	}
}

func TestCertificatesNameWhatServersServe(t *testing.T) {
	a, err := authority.New("routerd lab authority")
	if err != nil {
		t.Fatal(err)
	}
	all, err := serverCertificates(a, []Name{
		{Name: "one.example", certificate: "one.example"},
		{Name: "n1.fresh.example", certificate: "_.fresh.example"},
		{Name: "n2.fresh.example", certificate: "_.fresh.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if len(all) != 4 || !roots.AppendCertsFromPEM(a.PEM()) {
		t.Fatalf("%d files", len(all))
	}
	for name, file := range map[string]string{"one.example": "one.example", "n2.fresh.example": "_.fresh.example"} {
		block, _ := pem.Decode(all[certDir+"/"+file+".crt"])
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Verify(x509.VerifyOptions{DNSName: "other.example", Roots: roots}); err == nil {
			t.Errorf("the certificate of %s is good for another name", name)
		}
	}
}

func TestNginxChoosesCertificatesByName(t *testing.T) {
	config := nginxConfig([]Name{
		{Name: "one.example", certificate: "one.example"},
		{Name: "n1.fresh.example", certificate: "_.fresh.example"},
		{Name: "n2.fresh.example", certificate: "_.fresh.example"},
	})
	for _, want := range []string{"\t\tone.example one.example;\n", "\t\t*.fresh.example _.fresh.example;\n"} {
		if strings.Count(config, want) != 1 {
			t.Errorf("nginx.conf holds %q %d times", want, strings.Count(config, want))
		}
	}
}

func TestParseCountsReadsWhatNftPrints(t *testing.T) {
	const printed = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "lab"}},
{"counter": {"family": "inet", "name": "uncounted", "table": "lab", "packets": 3, "bytes": 5}},
{"set": {"name": "to4", "elem": [{"elem": {"val": {"concat": ["22.10.0.1", "tcp"]}, "counter": {"packets": 7, "bytes": 400}}}]}},
{"set": {"name": "to6", "elem": [{"elem": {"val": {"concat": ["2d00::1", 253]}, "counter": {"packets": 1, "bytes": 40}}}]}},
{"set": {"name": "empty"}}]}`
	got, lost, err := parseCounts([]byte(printed))
	if err != nil || lost != 3 {
		t.Fatalf("%d lost, %v", lost, err)
	}
	want := []Count{
		{Address: netip.MustParseAddr("22.10.0.1"), Protocol: "tcp", Packets: 7, Bytes: 400},
		{Address: netip.MustParseAddr("2d00::1"), Protocol: "253", Packets: 1, Bytes: 40},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, broken := range []string{
		"", "{", `{"nftables":[{"set":{"elem":[{"elem":{"val":{"concat":["1.2.3.4"]}}}]}}]}`,
		`{"nftables":[{"set":{"elem":[{"elem":{"val":{"concat":["nobody","tcp"]}}}]}}]}`,
	} {
		if _, _, err := parseCounts([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func TestOptionsThatCannotBeAreNamed(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string // of the error; "" is none
	}{
		{Options{}, ""},
		{Options{Name: "a-b_9", Firewall: IPTables}, ""},
		{Options{Name: "Ünder"}, `name "Ünder": use`},
		{Options{Name: "../etc"}, `name "../etc": use`},
		{Options{Name: strings.Repeat("a", 33)}, "up to 32"},
		{Options{Firewall: "pf"}, `firewall "pf": use nft, iptables or iptables-legacy`},
	} {
		err := c.o.complete()
		if c.want == "" && (err != nil || c.o.Name == "" || c.o.Firewall == "") {
			t.Errorf("%+v: %v", c.o, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func TestMissingToolsAreNamedWithTheirPackages(t *testing.T) {
	err := missingTools(func(program string) (string, error) {
		if program == "unbound" || program == "dnsmasq" {
			return "", fs.ErrNotExist
		}
		return "/bin/" + program, nil
	})
	const want = "the lab needs dnsmasq, unbound: apt-get install --no-install-recommends dnsmasq-base unbound"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if err := missingTools(func(string) (string, error) { return "", nil }); err != nil {
		t.Error(err)
	}
	if _, err := lookPath("no-such-program"); err == nil {
		t.Error("a program that does not exist was found")
	}
	if err := hasFilesystem("no-such-fs"); err == nil || !strings.Contains(err.Error(), "no-such-fs") {
		t.Errorf("a file system that does not exist: %v", err)
	}
}

func TestStateFileIsWrittenOnceAndReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "labs")
	want := state{ID: "x", Program: "/p", Hosts: map[string]process{Net: {PID: 7, Start: "99"}}}
	if err := writeState(dir, "one", want); err != nil {
		t.Fatal(err)
	}
	got, err := readState(dir, "one")
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := writeState(dir, "one", want); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second write: %v", err)
	}
	if _, err := readState(dir, "two"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state of no lab: %v", err)
	}
	if err := removeState(dir, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if err := removeState(dir, "one"); err != nil {
		t.Errorf("second removal: %v", err)
	}
}

func TestClaimRefusesANameInUseAndForgetsTheDead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "labs")
	own, err := processOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := writeState(dir, "busy", state{Hosts: map[string]process{Net: own}}); err != nil {
		t.Fatal(err)
	}
	if err := claim(dir, "busy"); err == nil || !strings.Contains(err.Error(), "already up") {
		t.Errorf("claim of a name in use: %v", err)
	}
	if err := writeState(dir, "dead", state{Hosts: map[string]process{Net: {PID: own.PID, Start: "1"}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := claim(dir, "dead"); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := claim(dir, "bad"); err == nil {
		t.Error("a broken state file was taken for none")
	}
}

func TestProcessIsToldFromALaterOneOfItsNumber(t *testing.T) {
	cmd := exec.Command("sleep", "4325")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := processOf(cmd.Process.Pid)
	if err != nil || !p.alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	later := process{PID: p.PID, Start: p.Start + "1"}
	if later.alive() {
		t.Error("another process of the number is alive")
	}
	if err := later.end(func() {}); err != nil || !p.alive() {
		t.Errorf("the end of a dead process ended another, or failed: %v", err)
	}
	for range 2 { // the second time it is a zombie
		if err := p.end(func() { t.Error("late") }); err != nil || p.alive() {
			t.Errorf("end: %v, alive %v", err, p.alive())
		}
	}
	_ = cmd.Wait()
}

func TestTunnelFilesMatchTheirExits(t *testing.T) {
	for _, o := range []Options{{}, {Exit2NoIPv6: true}} {
		for _, tunnel := range o.tunnels() {
			exit, quick, err := tunnel.configure()
			if err != nil {
				t.Fatal(err)
			}
			if len(exit.Addresses) != len(tunnel.routerSide) || exit.PresharedKey == "" {
				t.Errorf("%s: %+v", tunnel.name, exit)
			}
			for _, want := range []string{"PresharedKey = " + exit.PresharedKey, "Endpoint = " + tunnel.endpoint.String(), "Address = " + joinPrefixes(exit.AllowedIPs)} {
				if !strings.Contains(quick, want) {
					t.Errorf("%s.conf lacks %q", tunnel.name, want)
				}
			}
			if strings.Contains(quick, exit.PrivateKey) {
				t.Errorf("%s.conf holds the exit's private key", tunnel.name)
			}
		}
	}
}

func TestStratumListensOnceAPort(t *testing.T) {
	got := stratumListeners([]Name{
		{A: addresses("22.10.0.1"), AAAA: addresses("2d00:10::1"), Ports: []uint16{3333, 443}},
		{A: addresses("22.10.0.2"), Ports: []uint16{3333}},
	})
	if want := []string{"22.10.0.1:443", ":3333", "[2d00:10::1]:443"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFW3RulesDifferByFamily(t *testing.T) {
	all := families()
	four, six := fw3Ruleset(all[0]), fw3Ruleset(all[1])
	if !strings.Contains(four, "-j MASQUERADE") || strings.Contains(six, "MASQUERADE") {
		t.Error("only IPv4 is translated")
	}
	for _, rules := range []string{four, six} {
		if strings.Contains(rules, "REJECT_TYPE") || strings.Contains(rules, "ICMP_RULES") || !strings.Contains(rules, ":FORWARD DROP") {
			t.Errorf("rules are not filled in:\n%s", rules)
		}
	}
}
