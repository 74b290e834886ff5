package lists

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// issued is when the certificates of the tests begin to be valid; they are for
// a year.
func issued() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: issued().AddDate(-1, 0, 0), NotAfter: issued().AddDate(9, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, key)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// server gives a certificate of a host.
func (a *authority) server(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: issued(), NotAfter: issued().AddDate(1, 0, 0), DNSNames: []string{host},
	}, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// world is an internet of one web server, which answers for every host: with
// TLS on port 443, without on all others. Where a host is said to be is told by
// its connections alone.
type world struct {
	t       *testing.T
	m       *Manager
	opts    Options
	tls     *httptest.Server
	plain   *httptest.Server
	mux     *http.ServeMux
	mu      sync.Mutex
	now     time.Time             // guarded by mu
	at      map[string]netip.Addr // guarded by mu; hosts that are elsewhere than 22.1.1.1
	dead    map[string]bool       // guarded by mu; paths that do not work
	dialled []string              // guarded by mu; "path host:port"
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, mux: http.NewServeMux(), now: issued().AddDate(0, 1, 0), at: map[string]netip.Addr{}, dead: map[string]bool{}}
	ca := newAuthority(t)
	w.plain = httptest.NewServer(w.mux)
	w.tls = httptest.NewUnstartedServer(w.mux)
	w.tls.TLS = &tls.Config{Certificates: []tls.Certificate{ca.server(t, "lists.example")}}
	w.tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.tls.StartTLS()
	t.Cleanup(w.tls.Close)
	t.Cleanup(w.plain.Close)
	dir := t.TempDir()
	w.opts = Options{
		Dir: filepath.Join(dir, "flash", "lists"), StateDir: filepath.Join(dir, "state"), Roots: ca.pool(),
		Floor: issued().AddDate(0, 0, 10), Now: w.clock, Log: slog.New(slog.DiscardHandler), Dial: w.dial,
	}
	w.start()
	return w
}

// start is a start of the daemon: what is in memory is gone.
func (w *world) start(lists ...config.List) {
	w.m = New(w.opts)
	w.m.spread = func() float64 { return 0.5 }
	w.m.Set(lists)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// elsewhere is a connection that says it leads to another address.
type elsewhere struct {
	net.Conn
	to net.Addr
}

func (e elsewhere) RemoteAddr() net.Addr { return e.to }

func (w *world) dial(path string) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		w.dialled = append(w.dialled, path+" "+address)
		to, ok := w.at[host]
		dead := w.dead[path]
		w.mu.Unlock()
		if dead {
			return nil, os.ErrDeadlineExceeded
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			to = ip
		} else if !ok {
			to = netip.MustParseAddr("22.1.1.1")
		}
		server := w.plain
		if port == "443" {
			server = w.tls
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		return elsewhere{conn, net.TCPAddrFromAddrPort(netip.AddrPortFrom(to, 443))}, err
	}
}

// serve answers a path with a text.
func (w *world) serve(path, text string) {
	w.handle(path, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(text)) })
}

func (w *world) handle(path string, h http.HandlerFunc) { w.mux.HandleFunc(path, h) }

// list is a list of the settings from the test's server.
func list(name, path string) config.List {
	url := path
	if strings.HasPrefix(path, "/l/") {
		url = "https://lists.example" + path
	}
	return config.List{Name: name, URL: url, Format: "auto", Destination: "exchanges", Interval: time.Hour}
}

func (w *world) update(name string) error {
	w.t.Helper()
	return w.m.Update(w.t.Context(), name, nil)
}

// mustUpdate fetches what has to come.
func (w *world) mustUpdate(name string) {
	w.t.Helper()
	if err := w.update(name); err != nil {
		w.t.Fatal(err)
	}
}

// rules are those in force, as text.
func (w *world) rules(name string) []string {
	w.t.Helper()
	rules, err := w.m.Rules(name)
	if err != nil {
		w.t.Errorf("rules: %v", err)
	}
	return texts(rules)
}

func texts(rules []catalogue.Rule) []string {
	out := []string{}
	for _, r := range rules {
		out = append(out, r.String())
	}
	return out
}

func (w *world) wantRules(name string, want ...string) {
	w.t.Helper()
	if got := w.rules(name); !slices.Equal(got, want) {
		w.t.Errorf("rules of %s are %q, want %q", name, got, want)
	}
}

func (w *world) status(name string) Status {
	w.t.Helper()
	for _, s := range w.m.Status() {
		if s.Name == name {
			return s
		}
	}
	w.t.Fatalf("no status of %s", name)
	return Status{}
}

func (w *world) stat(path string) os.FileInfo {
	w.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// changes says whether Changed was sent to since the last call.
func (w *world) changes() bool {
	select {
	case <-w.m.Changed():
		return true
	default:
		return false
	}
}

func contains(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
