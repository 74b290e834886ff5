// Package authority signs the certificates that tests' servers show.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Authority is a certificate authority. Its keys live in this process's memory only.
// It is safe for concurrent use.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	leaf *ecdsa.PrivateKey // one key for every server

	mu   sync.Mutex // guards made
	made map[string]*tls.Certificate
}

// New makes an authority with a name; it is valid for a year from yesterday on, as
// all that it signs.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of authority %s: %w", name, err)
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of servers: %w", err)
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of authority %s: %w", name, err)
	}
	return &Authority{key: key, cert: cert, leaf: leaf, made: map[string]*tls.Certificate{}}, nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text()[:16])), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
	}
}

// PEM is the authority's own certificate, for who is to trust it.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// KeyPEM is the private key of all servers.
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.leaf)
	if err != nil {
		return nil, fmt.Errorf("encode key of servers: %w", err)
	}
	return encode("EC PRIVATE KEY", der), nil
}

// IssuePEM makes a server's certificate for names and addresses.
func (a *Authority) IssuePEM(names []string, addresses ...netip.Addr) ([]byte, error) {
	der, err := a.issue(names, addresses...)
	if err != nil {
		return nil, err
	}
	return encode("CERTIFICATE", der), nil
}

func (a *Authority) issue(names []string, addresses ...netip.Addr) ([]byte, error) {
	// Some clients (kdig) refuse a certificate without a subject.
	t := template(names[0])
	t.DNSNames = names
	for _, ip := range addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, a.leaf.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s: %w", strings.Join(names, ", "), err)
	}
	return der, nil
}

// Certificate is the one for a name, with the authority's, made when first asked for.
func (a *Authority) Certificate(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.made[name]; c != nil {
		return c, nil
	}
	der, err := a.issue([]string{name})
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leaf}
	a.made[name] = c
	return c, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
