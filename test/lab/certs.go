package lab

import (
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
	"strings"
	"time"
)

// authority is the lab's own certificate authority. Its key lives in the
// memory of the raising process only.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
	leaf *ecdsa.PrivateKey // one key for every server
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of authority: %w", err)
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of servers: %w", err)
	}
	template := certificateTemplate("routerd lab authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of authority: %w", err)
	}
	return &authority{key: key, cert: cert, pem: encodePEM("CERTIFICATE", der), leaf: leaf}, nil
}

func certificateTemplate(name string) *x509.Certificate {
	serial := new(big.Int).SetBytes([]byte(rand.Text()[:16]))
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
	}
}

// issue makes a server's certificate for names and addresses.
func (a *authority) issue(names []string, addresses ...netip.Addr) ([]byte, error) {
	// Some clients (kdig) refuse a certificate without a subject.
	t := certificateTemplate(names[0])
	t.DNSNames = names
	for _, ip := range addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, a.leaf.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s: %w", strings.Join(names, ", "), err)
	}
	return encodePEM("CERTIFICATE", der), nil
}

// leafKey is the servers' private key, PEM.
func (a *authority) leafKey() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.leaf)
	if err != nil {
		return nil, fmt.Errorf("encode key of servers: %w", err)
	}
	return encodePEM("EC PRIVATE KEY", der), nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certDir holds the servers' certificates inside net: NAME.crt, key.pem.
const certDir = runDir + "/certs"

// serverCertificates are the files of certDir: one certificate a name, but one
// for all generated names of a suffix, and a default for names of nobody.
func (a *authority) serverCertificates(names []Name) (files, error) {
	key, err := a.leafKey()
	if err != nil {
		return nil, err
	}
	out := files{certDir + "/key.pem": key}
	add := func(file string, dnsNames ...string) error {
		path := certDir + "/" + file + ".crt"
		if out[path] != nil {
			return nil
		}
		out[path], err = a.issue(dnsNames)
		return err
	}
	if err := add("default", "default.invalid"); err != nil {
		return nil, err
	}
	for _, n := range names {
		subject := n.certificate
		if parent, ok := strings.CutPrefix(subject, "_."); ok {
			subject = "*." + parent
		}
		if err := add(n.certificate, subject); err != nil {
			return nil, err
		}
	}
	return out, nil
}
