package dns

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	peer "github.com/miekg/dns"
)

// zoneText is what unbound serves, over every transport.
const zoneText = `
$ORIGIN test.
$TTL 300
@        SOA  ns.test. root.test. 1 3600 600 86400 120
@        NS   ns
ns       A    198.51.100.53
www      A    198.51.100.10
www      AAAA 2001:db8:1::10
v4       A    198.51.100.11
alias    CNAME deep
deep     CNAME www
short 1  A    198.51.100.12
mail     MX   10 mx.mail
mx.mail  A    198.51.100.20
mx.mail  AAAA 2001:db8:1::20
_s._tcp  SRV  1 2 443 www
svc      HTTPS 1 . alpn="h2,h3" ipv4hint=198.51.100.30 ipv6hint=2001:db8:1::30
must     HTTPS 1 . mandatory=ipv6hint,alpn alpn=h2 ipv6hint=2001:db8:1::31
svcalias HTTPS 0 svc
strange  TYPE65400 \# 6 0102C00CFFFE
big      TXT  "%[1]s"
big      TXT  "a%[1]s"
big      TXT  "b%[1]s"
big      TXT  "c%[1]s"
big      TXT  "d%[1]s"
big      TXT  "e%[1]s"
`

// authority is a CA of the test's own with one certificate for all servers.
type authority struct {
	roots *x509.CertPool
	cert  []byte // PEM
	key   []byte // PEM
}

func newAuthority(t testing.TB, notBefore time.Time) authority {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: notBefore, NotAfter: notBefore.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "resolver"},
		NotBefore: notBefore, NotAfter: notBefore.AddDate(0, 3, 0),
		DNSNames: []string{"dns.example"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.53"), net.ParseIP("2001:db8:f::53")},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	must(t, err)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(t, err)
	parsed, err := x509.ParseCertificate(caDER)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	a := authority{
		roots: x509.NewCertPool(),
		cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
	a.roots.AddCert(parsed)
	return a
}

// unbound is a real resolver on 127.0.0.53 and 2001:db8:f::53.
type unbound struct {
	authority
	process *exec.Cmd
	output  bytes.Buffer
}

// startUnbound serves zoneText, signed, over UDP, TCP, DoT and DoH.
func startUnbound(t testing.TB) *unbound {
	t.Helper()
	needIsolation(t)
	program, err := exec.LookPath("unbound")
	if err != nil {
		t.Fatal("unbound is missing: apt-get install --no-install-recommends unbound")
	}
	u := &unbound{authority: newAuthority(t, time.Now().Add(-time.Hour))}
	dir := t.TempDir()
	files := map[string]string{
		"cert.pem": string(u.cert), "key.pem": string(u.key), "zone": signedZone(t),
		"unbound.conf": fmt.Sprintf(unboundText, dir),
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	u.process = exec.Command(program, "-d", "-p", "-c", filepath.Join(dir, "unbound.conf"))
	u.process.Stdout, u.process.Stderr = &u.output, &u.output
	must(t, u.process.Start())
	t.Cleanup(u.stop)
	poll(t, "unbound answers", func() bool {
		_, err := peer.Exchange(question("www.test.", peer.TypeA), "127.0.0.53:53")
		return err == nil
	})
	return u
}

const unboundText = `server:
	username: ""
	chroot: ""
	directory: "%[1]s"
	pidfile: "%[1]s/pid"
	use-syslog: no
	do-daemonize: no
	num-threads: 1
	interface: 127.0.0.53@53
	interface: 127.0.0.53@853
	interface: 127.0.0.53@443
	interface: 2001:db8:f::53@53
	interface: 2001:db8:f::53@853
	interface: 2001:db8:f::53@443
	tls-port: 853
	https-port: 443
	tls-service-key: "%[1]s/key.pem"
	tls-service-pem: "%[1]s/cert.pem"
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	module-config: "iterator"
	local-zone: "test." nodefault
	edns-buffer-size: 1232
	incoming-num-tcp: 100
	minimal-responses: yes
	rrset-roundrobin: no
remote-control:
	control-enable: no
auth-zone:
	name: "test."
	zonefile: "%[1]s/zone"
	for-downstream: yes
	for-upstream: yes
`

func (u *unbound) stop() {
	if u.process.ProcessState == nil {
		_ = u.process.Process.Kill()
		_ = u.process.Wait()
	}
}

// signedZone is zoneText with an RRSIG record for each set.
func signedZone(t testing.TB) string {
	t.Helper()
	key := &peer.DNSKEY{
		Hdr:   peer.RR_Header{Name: "test.", Rrtype: peer.TypeDNSKEY, Class: peer.ClassINET, Ttl: 300},
		Flags: 257, Protocol: 3, Algorithm: peer.ECDSAP256SHA256,
	}
	secret, err := key.Generate(256)
	must(t, err)
	type set struct {
		name string
		kind uint16
	}
	sets := map[set][]peer.RR{{"test.", peer.TypeDNSKEY}: {key}}
	p := peer.NewZoneParser(strings.NewReader(fmt.Sprintf(zoneText, strings.Repeat("x", 250))), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k := set{rr.Header().Name, rr.Header().Rrtype}
		sets[k] = append(sets[k], rr)
	}
	must(t, p.Err())
	var out strings.Builder
	for k, rrs := range sets {
		sig := &peer.RRSIG{
			Hdr: peer.RR_Header{Ttl: rrs[0].Header().Ttl}, Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: "test.",
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(time.Hour).Unix()),
		}
		must(t, sig.Sign(secret.(crypto.Signer), rrs))
		for _, rr := range append(rrs, sig) {
			fmt.Fprintln(&out, rr)
		}
		_ = k
	}
	return out.String()
}

func question(name string, kind uint16) *peer.Msg { return new(peer.Msg).SetQuestion(name, kind) }

// poll waits until something is so.
func poll(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

// localDial is a dialer without paths; path 15 is down.
func localDial(ctx context.Context, p Path, network, address string) (net.Conn, error) {
	if p == 15 {
		return nil, fmt.Errorf("tunnel home: no handshake for 200 s: %w", ErrPathDown)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func upstreams(t testing.TB, texts ...string) []Upstream {
	t.Helper()
	var out []Upstream
	for _, text := range texts {
		u, err := ParseUpstream(text)
		must(t, err)
		out = append(out, u)
	}
	return out
}

// newResolver makes a resolver; change may change its options.
func newResolver(t testing.TB, roots *x509.CertPool, change func(*Options), texts ...string) *Resolver {
	t.Helper()
	o := Options{Dial: localDial, Upstreams: upstreams(t, texts...), Roots: roots}
	if change != nil {
		change(&o)
	}
	r := New(o)
	t.Cleanup(r.Close)
	return r
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}
