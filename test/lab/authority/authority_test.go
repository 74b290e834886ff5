package authority

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"testing"
)

// made is an authority with a pool that trusts it.
func made(t *testing.T) (*Authority, *x509.CertPool) {
	t.Helper()
	a, err := New("test authority")
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the authority's certificate is none")
	}
	return a, trusted
}

// inFiles is a certificate as servers read it from files.
func inFiles(t *testing.T, a *Authority) *tls.Certificate {
	t.Helper()
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.IssuePEM([]string{"www.example.com", "*.fresh.example.com"}, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(raw, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func TestCertificatesAreTrustedByThoseWhoTrustTheAuthority(t *testing.T) {
	a, trusted := made(t)
	pair := inFiles(t, a)
	asked, err := a.Certificate("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from *tls.Certificate
		name string
		ok   bool
	}{
		{pair, "www.example.com", true},
		{pair, "n1.fresh.example.com", true},
		{pair, "192.0.2.1", true},
		{pair, "other.example.com", false},
		{asked, "other.example.com", true},
		{asked, "www.example.com", false},
	} {
		leaf, err := x509.ParseCertificate(c.from.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusted, DNSName: c.name}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: x509.NewCertPool(), DNSName: c.name}); err == nil {
			t.Errorf("%s: trusted by somebody who does not know the authority", c.name)
		}
	}
}

func TestANameHasOneCertificate(t *testing.T) {
	a, _ := made(t)
	first, err := a.Certificate("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Certificate("other.example.com"); err != nil || again != first {
		t.Errorf("the same name gets another certificate: %v", err)
	}
}
