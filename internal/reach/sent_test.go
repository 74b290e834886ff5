package reach

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/dns"
)

// sentHost is the name of the server of these tests.
const sentHost = "api.exchange.example"

// server takes one connection after another on an address of its own and keeps
// what came: raw, and past TLS.
type server struct {
	net.Listener
	config *tls.Config // nil: no TLS
	answer string
	got    chan received
}

type received struct{ raw, plain []byte }

// tee keeps what is read.
type tee struct {
	net.Conn
	kept bytes.Buffer
}

func (c *tee) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.kept.Write(b[:n])
	return n, err
}

func listen(t *testing.T, config *tls.Config, answer string) *server {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{Listener: l, config: config, answer: answer, got: make(chan received, 8)}
	go s.serve() // ends with the listener
	return s
}

func (s *server) serve() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		outer := &tee{Conn: c}
		inner := &tee{Conn: outer}
		if s.config != nil {
			inner = &tee{Conn: tls.Server(outer, s.config)}
		}
		_ = inner.SetDeadline(time.Now().Add(10 * time.Second))
		if n, _ := inner.Read(make([]byte, 4<<10)); n > 0 {
			_, _ = io.WriteString(inner, s.answer)
			_, _ = io.Copy(io.Discard, inner)
		}
		c.Close()
		s.got <- received{outer.kept.Bytes(), inner.kept.Bytes()}
	}
}

// certified gives a server a certificate for sentHost, and clients its authority.
func certified(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{sentHost}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// observeAt tries a target whose name is that of a server here.
func (s *server) observeAt(t *testing.T, text string, roots *x509.CertPool) received {
	t.Helper()
	a := Trusted{Answer: dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}}
	p := NewProber(ProberOptions{Roots: roots, Dial: func(ctx context.Context, _ dns.Path, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Addr().String())
	}})
	o := p.Observe(t.Context(), Path{Name: "direct", Direct: true}, target(t, text), Truth{a, {Failure: Failure{Fault: FaultOther}}}, Depth{AsControl: true})
	if r := Judge(o, nil); r.Outcome != OutcomeOK {
		t.Fatalf("%s: %+v", text, r)
	}
	return <-s.got
}

// Whoever ends an observation takes the connection from the one who secured it: the
// race detector tells when they share more.
func TestObservationEndsWithItsContextPastTheHandshake(t *testing.T) {
	config, roots := certified(t)
	s := listen(t, config, "")
	a := Trusted{Answer: dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}}
	p := NewProber(ProberOptions{Roots: roots, Dial: func(ctx context.Context, _ dns.Path, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Addr().String())
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(500*time.Millisecond, cancel).Stop()
	began := time.Now()
	o := p.Observe(ctx, Path{Name: "direct", Direct: true}, target(t, "https://"+sentHost+"/"), Truth{a, {Failure: Failure{Fault: FaultOther}}}, Depth{AsControl: true})
	if took := time.Since(began); !o.Cancelled || took > 5*time.Second {
		t.Errorf("after %v: %+v", took, o)
	}
}

// TestWhatIsSentIsWhatTheDocumentationLists captures at the server all that each
// kind of check sends, and holds it against docs/reachability.md.
func TestWhatIsSentIsWhatTheDocumentationLists(t *testing.T) {
	config, roots := certified(t)
	page := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
	subscribed := `{"id":1,"result":[[],"08",4],"error":null}` + "\n"
	get := listed(t, "GET /api/v3/ping", "\r\n") + "\r\n"
	get = strings.Replace(get, "api.binance.com", sentHost, 1)
	line := listed(t, `{"id": 1`, "\n")
	for _, c := range []struct {
		target string
		tls    bool
		answer string
		want   string
		alpn   []string
	}{
		{"http://" + sentHost + "/api/v3/ping", false, page, get, nil},
		{"https://" + sentHost + "/api/v3/ping", true, page, get, []string{"http/1.1"}},
		{"stratum+tcp://" + sentHost + ":3333", false, subscribed, line, nil},
		{"stratum+ssl://" + sentHost + ":3333", true, subscribed, line, nil},
		{"tls://" + sentHost, true, "", "", nil},
		{"tcp://" + sentHost + ":443", false, "", "", nil},
	} {
		var s *server
		if c.tls {
			s = listen(t, config, c.answer)
		} else {
			s = listen(t, nil, c.answer)
		}
		got := s.observeAt(t, c.target, roots)
		if string(got.plain) != c.want {
			t.Errorf("%s sends %q, want %q", c.target, got.plain, c.want)
		}
		if !c.tls {
			continue
		}
		again := s.observeAt(t, c.target, roots)
		h, want := helloOf(t, got.raw), ordinaryHello(t, c.alpn)
		if h != want {
			t.Errorf("%s: the hello is\n%s\nan ordinary client's is\n%s", c.target, h, want)
		}
		if second := helloOf(t, again.raw); second != h {
			t.Errorf("%s: the second hello is\n%s\nthe first was\n%s", c.target, second, h)
		}
	}
}

// listed gives the lines of docs/reachability.md from one that begins so to the
// end of its block.
func listed(t *testing.T, begin, newline string) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/reachability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "\n    "+begin)
	if !found {
		t.Fatalf("docs/reachability.md lists nothing that begins with %q", begin)
	}
	block, _, _ := strings.Cut("    "+begin+rest, "\n\n")
	var out string
	for text := range strings.Lines(block + "\n") {
		out += strings.TrimSuffix(strings.TrimPrefix(text, "    "), "\n") + newline
	}
	return out
}

// ordinaryHello is that of Go's own client for the same name.
func ordinaryHello(t *testing.T, alpn []string) string {
	t.Helper()
	s := listen(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.EOF }}, "")
	c, err := net.Dial("tcp4", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = tls.Client(c, &tls.Config{ServerName: sentHost, NextProtos: alpn, MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	c.Close()
	return helloOf(t, (<-s.got).raw)
}

// helloOf shows a ClientHello (RFC 8446 4.1.2) without what must differ each
// time: the random, the session's id and keys.
func helloOf(t *testing.T, raw []byte) string {
	t.Helper()
	const record, handshake, versionAndRandom = 5, 4, 34
	if len(raw) < record+handshake+versionAndRandom || raw[0] != 22 || raw[record] != 1 {
		t.Fatalf("no ClientHello: %x", raw)
	}
	in := raw[record+handshake+versionAndRandom : record+int(binary.BigEndian.Uint16(raw[3:]))]
	vector := func(size int) []byte {
		n := int(in[0])
		if size == 2 {
			n = int(binary.BigEndian.Uint16(in))
		}
		out := in[size : size+n]
		in = in[size+n:]
		return out
	}
	id := len(vector(1))
	out := fmt.Sprintf("id of %d, suites %x, compression %x", id, vector(2), vector(1))
	var lines []string
	for all := vector(2); len(all) > 0; {
		kind, n := binary.BigEndian.Uint16(all), int(binary.BigEndian.Uint16(all[2:]))
		content := fmt.Sprintf("%x", all[4:4+n])
		const sessionTicket, preShared, keyShare = 35, 41, 51
		switch {
		case kind == preShared, kind == sessionTicket && n > 0:
			t.Errorf("a session is resumed: extension %d holds %s", kind, content)
		case kind == keyShare:
			content = fmt.Sprintf("%d octets", n)
		}
		lines = append(lines, fmt.Sprintf("extension %d: %s", kind, content))
		all = all[4+n:]
	}
	slices.Sort(lines)
	return out + "\n" + strings.Join(lines, "\n")
}
