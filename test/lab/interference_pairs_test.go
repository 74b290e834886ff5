package lab_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestInterferencesGoOnSideBySide(t *testing.T) {
	okx, both := []string{"okx.com"}, []string{"okx.com", "binance.com"}
	for _, x := range []struct {
		what   string
		pair   [2]lab.Interference
		family int
		url    string
		// What curl ends with while both go on, and with the first one undone.
		meanwhile, then int
	}{
		{"a forged name over IPv4, reset over IPv6", [2]lab.Interference{
			{Kind: interfere.DNSForge, Names: okx, Family: 4}, {Kind: interfere.TLSReset, Names: okx, Family: 6},
		}, 6, "https://www.okx.com/", curlTLS, curlTLS},
		{"a forged name whose block page is reset", [2]lab.Interference{
			{Kind: interfere.TLSReset, Names: okx}, {Kind: interfere.DNSForge, Names: okx},
		}, 4, "https://www.okx.com/", curlTLS, curlUntrusted},
		{"two resets by name, one undone", [2]lab.Interference{
			{Kind: interfere.TLSReset, Names: both}, {Kind: interfere.TLSReset, Names: okx},
		}, 4, "https://www.okx.com/", curlTLS, curlTLS},
		{"a certificate and a reset", [2]lab.Interference{
			{Kind: interfere.TLSReset, Names: okx}, {Kind: interfere.TLSCert, Names: okx},
		}, 6, "https://www.okx.com/", curlTLS, curlUntrusted},
		{"a certificate and a block page", [2]lab.Interference{
			{Kind: interfere.HTTPBlockPage, Names: okx}, {Kind: interfere.TLSCert, Names: okx},
		}, 4, "https://www.okx.com/", curlUntrusted, curlUntrusted},
		{"frozen and lossy", [2]lab.Interference{
			{Kind: interfere.Loss, Percent: 5, Names: okx}, {Kind: interfere.Freeze, Names: okx},
		}, 4, "https://www.okx.com/bytes/65536", curlTimeout, curlTimeout},
		{"delayed and refused by the service", [2]lab.Interference{
			{Kind: interfere.Delayed, Delay: 30 * time.Millisecond}, {Kind: interfere.ServiceDown, Names: okx},
		}, 6, "https://www.okx.com/", curlNoConnect, curlNoConnect},
		{"slow and frozen", [2]lab.Interference{
			{Kind: interfere.Freeze, Names: okx}, {Kind: interfere.Rate, Names: okx, Kbit: 2000},
		}, 4, "https://www.okx.com/bytes/65536", curlTimeout, curlOK},
		{"a dropped lookup and a dropped connection", [2]lab.Interference{
			{Kind: interfere.TCPDrop, Names: okx}, {Kind: interfere.DNSDrop, Names: []string{"binance.com"}},
		}, 4, "https://www.okx.com/", curlTimeout, curlOK},
	} {
		t.Run(x.what, func(t *testing.T) {
			l := troubledLab(t)
			first, second := begin(t, l, x.pair[0]), begin(t, l, x.pair[1])
			see := func(want int) {
				t.Helper()
				// Past the router's dnsmasq, whose cache no interference reaches.
				kind := map[int]string{4: "A", 6: "AAAA"}[x.family]
				to := "www.okx.com:443:" + lookup(t, l, lab.Resolver4, "www.okx.com", kind)
				seconds := "15"
				if want == curlTimeout {
					seconds = "2"
				}
				if status, page := visit(t, l, x.family, seconds, x.url, "--resolve", to); status != want {
					t.Errorf("curl ends %d, want %d: %.300s", status, want, page)
				}
			}
			see(x.meanwhile)
			first()
			see(x.then)
			second()
			see(curlOK)
		})
	}
}

// TestRefusalsComeThroughAQueue: with connection tracking on, because others'
// connections are looked into, the kernel drops answers that wait in a queue and
// share an entry that is not confirmed.
func TestRefusalsComeThroughAQueue(t *testing.T) {
	l := troubledLab(t)
	okx := []string{"okx.com"}
	begin(t, l, lab.Interference{Kind: interfere.Delayed, Delay: 30 * time.Millisecond})
	begin(t, l, lab.Interference{Kind: interfere.TLSReset, Names: []string{"binance.com"}})
	for _, x := range []lab.Interference{{Kind: interfere.TCPReset, Names: okx}, {Kind: interfere.Unreachable, Names: okx}, {Kind: interfere.ServiceDown, Names: okx}} {
		undo := begin(t, l, x)
		for family, kind := range map[int]string{4: "A", 6: "AAAA"} {
			to := "www.okx.com:443:" + lookup(t, l, lab.Resolver4, "www.okx.com", kind)
			if status, page := visit(t, l, family, "5", "https://www.okx.com/", "--resolve", to); status != curlNoConnect {
				t.Errorf("%s, IPv%d: curl ends %d, want %d: %.300s", x, family, status, curlNoConnect, page)
			}
		}
		undo()
	}
}

func TestConnectionsOfOthersOutliveInterference(t *testing.T) {
	l := troubledLab(t)
	cmd := exec.Command(l.Program(), "client", "stratum", pools(t, names(t))["own"], "--for", "4s")
	var out strings.Builder
	cmd.Stdout = &out
	if err := l.Start(lab.Client, cmd); err != nil {
		t.Fatal(err)
	}
	for _, x := range []lab.Interference{
		{Kind: interfere.TLSCert, Names: []string{"okx.com"}},
		{Kind: interfere.DNSForge, Names: []string{"okx.com"}},
		{Kind: interfere.TLSDrop, Names: []string{"okx.com"}},
		{Kind: interfere.Rate, Names: []string{"okx.com"}},
		{Kind: interfere.ServiceStatus, Names: []string{"okx.com"}, Status: 503},
	} {
		begin(t, l, x)()
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), `"error":""`) {
		t.Errorf("the miner ends %v: %s", err, out.String())
	}
}

func TestInterferenceIsRefusedWithWhatIsAllowed(t *testing.T) {
	l := troubledLab(t)
	for want, x := range map[string]lab.Interference{
		`kind "": use one of dns-forge, dns-inject`:                {},
		"tls-reset needs NAME, such as: scripts/lab isp tls-reset": {Kind: interfere.TLSReset},
		"wan-down does not take NAME; it takes --family":           {Kind: interfere.WANDown, Names: []string{"okx.com"}},
		`name "no.such.name" is not in the lab's internet`:         {Kind: interfere.TCPDrop, Names: []string{"no.such.name"}},
		"service-down needs a name or an address":                  {Kind: interfere.ServiceDown},
	} {
		if _, err := l.Interfere(t.Context(), x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	if all, err := l.Interferences(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v goes on, %v", all, err)
	}
}

func TestInterferenceIsClearedByIDAndKind(t *testing.T) {
	l := troubledLab(t)
	var ids []string
	for _, x := range []lab.Interference{
		{Kind: interfere.Loss, Percent: 1},
		{Kind: interfere.TLSReset, Names: []string{"okx.com"}},
		{Kind: interfere.TLSReset, Names: []string{"kraken.com"}},
		{Kind: interfere.ServiceDown, Names: []string{"kraken.com"}},
	} {
		id, err := l.BeginInterference(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	left := func(what ...string) (out []string) {
		t.Helper()
		if err := l.ClearInterference(t.Context(), what...); err != nil {
			t.Error(err)
		}
		all, err := l.Interferences(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, x := range all {
			out = append(out, x.ID)
		}
		return out
	}
	if got := strings.Join(left(ids[0], "no-such-id"), " "); got != strings.Join(ids[1:], " ") {
		t.Errorf("%v are left of %v", got, ids)
	}
	if got := left("tls-reset"); len(got) != 1 || got[0] != ids[3] {
		t.Errorf("%v are left of %v", got, ids)
	}
	if got := left(); len(got) != 0 {
		t.Errorf("%v are left", got)
	}
}
