package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// authority is a CA with an intermediate one and a server's certificate.
type authority struct {
	roots *x509.CertPool
	chain tls.Certificate
}

func newAuthority(t *testing.T, issued time.Time) authority {
	t.Helper()
	root, rootKey := issue(t, nil, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, IsCA: true, NotBefore: issued, NotAfter: issued.AddDate(9, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	})
	middle, middleKey := issue(t, root, rootKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: "middle"}, IsCA: true, NotBefore: issued, NotAfter: issued.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	})
	leaf, leafKey := issue(t, middle, middleKey, &x509.Certificate{
		NotBefore: issued, NotAfter: issued.AddDate(0, 3, 0), DNSNames: []string{"dns.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	a := authority{roots: x509.NewCertPool(), chain: tls.Certificate{Certificate: [][]byte{leaf.Raw, middle.Raw}, PrivateKey: leafKey}}
	a.roots.AddCert(root)
	return a
}

func issue(t *testing.T, by *x509.Certificate, byKey *ecdsa.PrivateKey, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(1), c.IsCA
	if by == nil {
		by, byKey = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}

// shake makes a handshake with a server that shows the authority's certificate.
func (a authority) shake(v Verifier) error {
	left, right := net.Pipe()
	defer left.Close()
	go func() { // ends with the pipe
		defer right.Close()
		_ = tls.Server(right, &tls.Config{Certificates: []tls.Certificate{a.chain}}).Handshake()
	}()
	return tls.Client(left, v.Config()).Handshake()
}

func TestCertificatesAreCheckedBeforeTheClockIsSet(t *testing.T) {
	floor := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	unset := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		issued time.Time // valid for three months
		now    time.Time
		want   string // in the error; "" is none
	}{
		{"clock set", floor.AddDate(0, -1, 0), floor.AddDate(0, 0, 1), ""},
		{"clock set, expired", floor.AddDate(0, -4, 0), floor.AddDate(0, 0, 1), "expired"},
		{"clock set, not yet valid", floor.AddDate(0, 1, 0), floor.AddDate(0, 0, 1), "not yet valid"},
		{"clock unset", floor.AddDate(0, -1, 0), unset, ""},
		{"clock unset, expired when it was built", floor.AddDate(0, -4, 0), unset, "expired"},
		{"clock unset, issued after it was built", floor.AddDate(2, 0, 0), unset, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t, c.issued)
			v := Verifier{Host: "dns.example", Roots: a.roots, Now: func() time.Time { return c.now }, Floor: floor}
			expect(t, a.shake(v), c.want)
		})
	}
}

func TestNameAndAuthorityAreChecked(t *testing.T) {
	a, other := newAuthority(t, time.Now()), newAuthority(t, time.Now())
	for _, c := range []struct {
		host  string
		roots *x509.CertPool
		want  string
	}{
		{"dns.example", a.roots, ""},
		{"192.0.2.1", a.roots, ""},
		{"192.0.2.2", a.roots, "192.0.2.2"},
		{"www.dns.example", a.roots, "not www.dns.example"},
		{"dns.example", other.roots, "unknown authority"},
		{"dns.example", nil, "unknown authority"},
	} {
		expect(t, a.shake(Verifier{Host: c.host, Roots: c.roots, Now: time.Now}), c.want)
	}
	expect(t, Verifier{Host: "dns.example", Now: time.Now}.Verify(tls.ConnectionState{}), "no certificate")
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
