package lab_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/client"
	"github.com/routerd/routerd/test/lab/labtest"
)

// kdig asks a server from client and gives the answers, one a line.
func kdig(t *testing.T, l *lab.Lab, args ...string) []string {
	t.Helper()
	out := strings.Fields(labtest.Run(t, l, lab.Client, "kdig", append([]string{"+short", "+time=3", "+retry=2"}, args...)...))
	slices.Sort(out)
	return out
}

func texts(all []netip.Addr) []string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	slices.Sort(out)
	return out
}

func TestNamesResolveOverEveryTransport(t *testing.T) {
	l, known := sharedLab(t), names(t)
	trust := []string{"+tls-ca", "+tls-hostname=" + lab.ResolverName}
	transports := map[string][]string{
		"udp": {"+bufsize=4096"}, "tcp": {"+tcp"},
		"tls": append([]string{"+tls"}, trust...), "https": append([]string{"+https"}, trust...),
	}
	for name, options := range transports {
		for _, server := range []string{lab.Resolver4, lab.Resolver6} {
			t.Run(name+" "+server, func(t *testing.T) {
				for _, n := range []string{"www.binance.com", lab.FreshNames()[0], lab.PlainNames()[1999], lab.ManyAddresses} {
					ask := append([]string{"@" + server}, options...)
					if diff := cmp.Diff(texts(known[n].A), kdig(t, l, append(ask, n, "A")...)); diff != "" {
						t.Errorf("A of %s (-want +got):\n%s", n, diff)
					}
					if diff := cmp.Diff(texts(known[n].AAAA), kdig(t, l, append(ask, n, "AAAA")...)); diff != "" {
						t.Errorf("AAAA of %s (-want +got):\n%s", n, diff)
					}
				}
			})
		}
	}
}

func TestChainsResolveThroughTheRouter(t *testing.T) {
	l, known := sharedLab(t), names(t)
	for length := 1; length <= 4; length++ {
		n := known[lab.ChainName(length)]
		var want []string
		for _, hop := range n.CNAME {
			want = append(want, hop+".")
		}
		want = append(want, n.A[0].String())
		slices.Sort(want)
		if diff := cmp.Diff(want, kdig(t, l, n.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", n.Name, diff)
		}
	}
}

func TestNamesThatShareAnAddress(t *testing.T) {
	l, known := sharedLab(t), names(t)
	got := kdig(t, l, lab.AliasUnlisted)
	for _, want := range []string{"www.binance.com.", known["www.binance.com"].A[0].String()} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is %v, without %s", lab.AliasUnlisted, got, want)
		}
	}
	if one, two := kdig(t, l, lab.SharedListed), kdig(t, l, lab.SharedUnlisted); !slices.Equal(one, two) {
		t.Errorf("%v and %v are not one address", one, two)
	}
	if got := labtest.Run(t, l, lab.Client, "kdig", "no-such-name.example"); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("an unknown name gives %s", got)
	}
}

func TestHTTPSRecordsResolveThroughTheRouter(t *testing.T) {
	l, known := sharedLab(t), names(t)
	for _, name := range []string{lab.HTTP3Listed, lab.HTTP3Unlisted, lab.HintedListed, lab.HTTPSAlias} {
		record := known[name].HTTPS
		got := labtest.Run(t, l, lab.Client, "kdig", "+short", name, "HTTPS")
		for _, want := range append(texts(record.Hint4), texts(record.Hint6)...) {
			if !strings.Contains(got, want) {
				t.Errorf("HTTPS of %s lacks %s: %s", name, want, got)
			}
		}
		if !strings.HasPrefix(got, fmt.Sprintf("%d %s.", record.Priority, record.Target)) {
			t.Errorf("HTTPS of %s is %s", name, got)
		}
	}
}

// burst visits names from a host and gives the results by name.
func burst(t *testing.T, l *lab.Lab, host string, list []string, options ...string) map[string]client.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte(strings.Join(list, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := l.Run(t.Context(), host, l.Program(), append([]string{"client", "burst", "--names", file}, options...)...)
	if err != nil {
		t.Errorf("%v", err)
	}
	results := map[string]client.Result{}
	for line := range strings.Lines(string(out)) {
		var r client.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		results[r.Name] = r
	}
	return results
}

func TestEveryNameHasAPageWithItsCertificate(t *testing.T) {
	l, known := sharedLab(t), names(t)
	var list []string
	for name, n := range known {
		if !n.Generated() {
			list = append(list, name)
		}
	}
	list = append(list, lab.FreshNames()[:50]...)
	for _, family := range []string{"4", "6"} {
		results := burst(t, l, lab.Client, list, "--family", family, "--concurrency", "40")
		seen := map[string]string{"4": lab.RouterWAN4, "6": "2d00:1:1::10"}[family]
		for _, name := range list {
			r, want := results[name], texts(known[name].A)
			if family == "6" {
				want = texts(known[name].AAAA)
			}
			if !r.OK || !slices.Contains(want, r.Address) || r.Seen != seen {
				t.Errorf("%s over IPv%s: %+v, want one of %v seen from %s", name, family, r, want, seen)
			}
		}
	}
}

func TestPageNamesHostServerAndClient(t *testing.T) {
	l, known := sharedLab(t), names(t)
	n := known["www.okx.com"]
	for _, url := range []string{"http://www.okx.com/", "https://www.okx.com/"} {
		for option, want := range map[string]string{
			"-4": fmt.Sprintf("host www.okx.com\nserver %s\nclient %s\n", n.A[0], lab.RouterWAN4),
			"-6": fmt.Sprintf("host www.okx.com\nserver %s\nclient 2d00:1:1::20\n", n.AAAA[0]),
		} {
			if got := labtest.Run(t, l, lab.Client2, "curl", "-sS", option, url); got != want {
				t.Errorf("curl %s %s gives %q, want %q", option, url, got, want)
			}
		}
	}
}

func TestWrongServerNameIsRefusedByClients(t *testing.T) {
	l, known := sharedLab(t), names(t)
	to := "www.bank-nobody-knows.example:443:" + known["www.okx.com"].A[0].String()
	if out, err := l.Run(t.Context(), lab.Client, "curl", "-sS", "--resolve", to, "https://www.bank-nobody-knows.example/"); err == nil {
		t.Errorf("a certificate for another name was taken: %s", out)
	}
}

func TestDownloadsHaveTheSizesTheySay(t *testing.T) {
	l := sharedLab(t)
	for _, size := range []int64{1 << 10, 64 << 10, 1 << 20, 64 << 20} {
		for _, family := range []string{"4", "6"} {
			var r client.FetchResult
			out := labtest.Run(t, l, lab.Client, l.Program(), "client", "fetch", "--family", family, fmt.Sprintf("https://video.example/bytes/%d", size))
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Bytes != size {
				t.Errorf("download of %d bytes: %s, %v", size, out, err)
			}
		}
	}
	out := labtest.Run(t, l, lab.Client, l.Program(), "client", "fetch", "--bytes", "1000", "https://video.example/bytes/1073741824")
	if !strings.Contains(out, `"bytes":1000,`) {
		t.Errorf("a limited download: %s", out)
	}
	if !slices.Contains(lab.Downloads(), 64<<20) {
		t.Error("64 MiB is not among Downloads")
	}
}

// pools picks one server on a web port and one on a port of its own.
func pools(t *testing.T, known map[string]lab.Name) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range sortedNames(known) {
		for _, port := range known[name].Ports {
			out[map[bool]string{true: "web", false: "own"}[port == 443]] = fmt.Sprintf("%s:%d", name, port)
		}
	}
	if len(out) != 2 {
		t.Fatalf("the catalogue has pools on %v only", out)
	}
	return out
}

func TestMiningSessionsOnEveryKindOfPort(t *testing.T) {
	l, known := sharedLab(t), names(t)
	targets := pools(t, known)
	for kind, target := range targets {
		for _, options := range [][]string{{"--family", "4"}, {"--family", "6", "--tls"}} {
			args := append([]string{"client", "stratum", target, "--for", "1500ms"}, options...)
			var r client.StratumResult
			out := labtest.Run(t, l, lab.Client, l.Program(), args...)
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			if !r.Subscribed || !r.Authorized || r.Jobs < 2 || r.Accepted < 1 {
				t.Errorf("%s port, %v: %+v", kind, args, r)
			}
		}
	}
}

func sortedNames(all map[string]lab.Name) []string {
	out := make([]string, 0, len(all))
	for name := range all {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func TestEchoAnswersFromTheAddressAsked(t *testing.T) {
	l, known := sharedLab(t), names(t)
	for family, want := range map[string]netip.Addr{"4": known["www.kraken.com"].A[0], "6": known["www.kraken.com"].AAAA[0]} {
		out := labtest.Run(t, l, lab.Client2, l.Program(), "client", "udp-echo", "www.kraken.com:7", "--family", family, "--count", "5", "--size", "1200")
		var r client.EchoResult
		// A connected socket takes answers from that address only.
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Received != 5 || r.Address != want.String() {
			t.Errorf("%s, %v", out, err)
		}
	}
}
