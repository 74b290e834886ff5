package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/routerd/routerd/test/lab/client"
	"github.com/routerd/routerd/test/lab/serve"
)

// startDNS answers from records on one port over UDP and TCP. Names that begin
// with "cut" are truncated over UDP.
func startDNS(t *testing.T, records map[string][]string) string {
	t.Helper()
	return serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		for _, text := range records[name] {
			rr, err := dns.NewRR(name + " 60 IN " + text)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if records[name] == nil {
			m.Rcode = dns.RcodeNameError
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && strings.HasPrefix(name, "cut") {
			m.Answer, m.Truncated = nil, true
		}
		if q.IsEdns0() == nil || q.IsEdns0().UDPSize() != 4096 {
			t.Errorf("the query for %s has no EDNS of 4096", name)
		}
		_ = w.WriteMsg(m)
	})
}

// serveDNS answers with a function on one port over UDP and TCP.
func serveDNS(t *testing.T, answer dns.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: answer}, {PacketConn: p, Handler: answer}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = s.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return l.Addr().String()
}

func TestLookup(t *testing.T) {
	server := startDNS(t, map[string][]string{
		"two.example.":   {"A 192.0.2.1", "A 192.0.2.2"},
		"chain.example.": {"CNAME end.example.", "AAAA 2001:db8::1"},
		"cut.example.":   {"A 192.0.2.3"},
		"text.example.":  {"TXT nothing"},
	})
	for _, c := range []struct {
		name   string
		family int
		want   string // addresses, or of the error
	}{
		{"two.example", 4, "[192.0.2.1 192.0.2.2]"},
		{"two.example.", 4, "[192.0.2.1 192.0.2.2]"},
		{"chain.example", 6, "[2001:db8::1]"},
		{"cut.example", 4, "[192.0.2.3]"},
		{"none.example", 4, "NameError"},
		{"text.example", 4, "no address of family 4"},
		{strings.Repeat("a", 300), 4, "look up"},
	} {
		got, err := client.Lookup(t.Context(), server, c.name, c.family)
		if text := fmt.Sprint(got, err); !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

func TestLookupIgnoresAnswersToOtherQuestions(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go func() {
		raw := make([]byte, 512)
		n, from, err := p.ReadFrom(raw)
		if err != nil {
			return
		}
		for _, forged := range []bool{true, false} {
			q := new(dns.Msg)
			if q.Unpack(raw[:n]) != nil {
				return
			}
			m := new(dns.Msg)
			m.SetReply(q)
			rr, _ := dns.NewRR("one.example. 60 IN A 192.0.2.7")
			m.Answer = []dns.RR{rr}
			if forged {
				m.Id++
			}
			packed, _ := m.Pack()
			_, _ = p.WriteTo(packed, from)
		}
	}()
	got, err := client.Lookup(t.Context(), p.LocalAddr().String(), "one.example", 4)
	if err != nil || !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.0.2.7")}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	begin := time.Now()
	if _, err := client.Lookup(ctx, p.LocalAddr().String(), "one.example", 4); err == nil || time.Since(begin) > time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

// startWeb serves pages and downloads over TLS; it gives the port and the file
// of its authority. httptest's certificate is for example.com.
func startWeb(t *testing.T) (port uint16, ca string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "host %s\nclient 192.0.2.99\n", r.Host)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100_000)) })
	mux.HandleFunc("/closed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnavailableForLegalReasons) })
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(s.Listener.Addr().String()).Port(), ca
}

func TestBurstTellsWhatCameOfEachName(t *testing.T) {
	server := startDNS(t, map[string][]string{
		"example.com.":       {"A 127.0.0.1"},
		"other.example.net.": {"A 127.0.0.1"},
		"refused.example.":   {"A 127.0.0.77"},
	})
	port, ca := startWeb(t)
	o := client.Options{Server: server, Family: 4, Port: port, CA: ca}
	var out bytes.Buffer
	failed, err := client.Burst(t.Context(), o, []string{"example.com", "other.example.net", "refused.example", "none.example"}, 2, &out)
	if err != nil || failed != 3 {
		t.Errorf("%d failed, %v", failed, err)
	}
	want := map[string]string{
		"example.com": "", "other.example.net": "shake hands", "refused.example": "connect", "none.example": "NameError",
	}
	for _, r := range results(t, out.String()) {
		if !strings.Contains(r.Error, want[r.Name]) || r.OK != (want[r.Name] == "") {
			t.Errorf("%+v, want error %q", r, want[r.Name])
		}
		if r.OK && (r.Seen != "192.0.2.99" || r.Address != "127.0.0.1") {
			t.Errorf("%+v", r)
		}
		delete(want, r.Name)
	}
	if len(want) > 0 {
		t.Errorf("no result of %v", want)
	}
}

// results reads what a burst prints.
func results(t *testing.T, lines string) []client.Result {
	t.Helper()
	var out []client.Result
	for line := range strings.Lines(lines) {
		var r client.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestBurstWithoutCheckingCertificates(t *testing.T) {
	server := startDNS(t, map[string][]string{"any.example.": {"A 127.0.0.1"}})
	port, _ := startWeb(t)
	var out bytes.Buffer
	failed, err := client.Burst(t.Context(), client.Options{Server: server, Family: 4, Port: port, Insecure: true}, []string{"any.example"}, 1, &out)
	if err != nil || failed != 0 {
		t.Errorf("%d failed, %v: %s", failed, err, out.String())
	}
}

func TestAuthoritiesThatCannotBeReadAreNamed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, "/no/such/file"} {
		_, err := client.Burst(t.Context(), client.Options{CA: file}, nil, 1, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestFetch(t *testing.T) {
	server := startDNS(t, map[string][]string{"example.com.": {"A 127.0.0.1"}})
	port, ca := startWeb(t)
	o := client.Options{Server: server, Family: 4, CA: ca}
	url := "https://example.com:" + strconv.Itoa(int(port))
	for _, c := range []struct {
		url    string
		limit  int64
		bytes  int64
		failed string
	}{
		{url + "/bytes", 0, 100_000, ""},
		{url + "/bytes", 70_000, 70_000, ""},
		{url + "/closed", 0, 0, "451"},
		{"https://none.example/", 0, 0, "NameError"},
		{"https://127.0.0.1:1/", 0, 0, "refused"},
	} {
		var body bytes.Buffer
		r, err := client.Fetch(t.Context(), o, c.url, c.limit, &body)
		if err != nil || r.Bytes != c.bytes || int64(body.Len()) != c.bytes || !strings.Contains(r.Error, c.failed) || (r.Error == "") != (c.failed == "") {
			t.Errorf("%s: %+v, %v", c.url, r, err)
		}
	}
	if _, err := client.Fetch(t.Context(), o, "::", 0, &bytes.Buffer{}); err == nil {
		t.Error("a URL that is none was fetched")
	}
}

// startPool serves Stratum on loopback.
func startPool(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serve.Stratum(ctx, serve.StratumOptions{Listen: []string{address}, JobEvery: 5 * time.Millisecond})
	}()
	t.Cleanup(func() { stop(); <-ended })
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
	}
	t.Fatal("the pool never listens")
	return ""
}

func TestStratumMinesForAsLongAsAsked(t *testing.T) {
	server := startDNS(t, map[string][]string{"pool.example.": {"A 127.0.0.1"}})
	_, port, _ := net.SplitHostPort(startPool(t))
	o := client.Options{Server: server, Family: 4}
	r, err := client.Stratum(t.Context(), o, "pool.example:"+port, false, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Subscribed || !r.Authorized || r.Jobs < 2 || r.Accepted < 1 || r.Error != "" || r.LongestGap <= 0 || r.Seconds < 0.2 {
		t.Errorf("%+v", r)
	}
}

func TestStratumTellsWhatBreaksASession(t *testing.T) {
	o := client.Options{Server: "127.0.0.1:1", Family: 4}
	r, err := client.Stratum(t.Context(), o, "127.0.0.1:1", false, time.Second)
	if err != nil || !strings.Contains(r.Error, "refused") {
		t.Errorf("%+v, %v", r, err)
	}
	for _, target := range []string{"pool.example", "pool.example:http", "pool.example:70000"} {
		if _, err := client.Stratum(t.Context(), o, target, false, time.Second); err == nil || !strings.Contains(err.Error(), target) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// reflect sends every datagram back until its socket is closed.
func reflect(p net.PacketConn) {
	raw := make([]byte, 2000)
	for {
		n, from, err := p.ReadFrom(raw)
		if err != nil {
			return
		}
		_, _ = p.WriteTo(raw[:n], from)
	}
}

func TestEchoCountsAnswers(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go reflect(p)
	r, err := client.Echo(t.Context(), client.Options{Server: "127.0.0.1:1"}, p.LocalAddr().String(), 5, 1200)
	if err != nil || r.Sent != 5 || r.Received != 5 || r.Error != "" {
		t.Errorf("%+v, %v", r, err)
	}
	_ = p.Close()
	r, err = client.Echo(t.Context(), client.Options{Server: "127.0.0.1:1"}, p.LocalAddr().String(), 2, 10)
	if err != nil || r.Received != 0 || !strings.Contains(r.Error, "refused") {
		t.Errorf("with nobody there: %+v, %v", r, err)
	}
}

func TestReadNames(t *testing.T) {
	got, err := client.ReadNames("-", strings.NewReader("a.example\n\n  b.example \n"))
	if err != nil || !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("%v, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("c.example"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := client.ReadNames(file, nil); err != nil || !slices.Equal(got, []string{"c.example"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := client.ReadNames("/no/such/file", nil); err == nil {
		t.Error("a file that does not exist was read")
	}
}
