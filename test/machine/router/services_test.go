package router

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/test/lab/serve"
)

// authority signs a certificate for whatever name a client asks for.
type authority struct {
	key  *ecdsa.PrivateKey // of all certificates
	cert *x509.Certificate

	mu   sync.Mutex // guards what follows
	made map[string]*tls.Certificate
}

// newAuthority makes an authority and writes its certificate for who is to trust it.
func (w *world) newAuthority() *authority {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	a := &authority{key: key, made: map[string]*tls.Certificate{}}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	raw, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	w.must(err)
	a.cert, err = x509.ParseCertificate(raw)
	w.must(err)
	w.must(os.WriteFile(w.authorities(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	return a
}

// authorities is the file of authorities that the daemon trusts.
func (w *world) authorities() string { return filepath.Join(w.dir, "authorities.pem") }

// certificate is that of the name asked for.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.made[hello.ServerName]; c != nil {
		return c, nil
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.made) + 2)), DNSNames: []string{hello.ServerName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
	}, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: a.key}
	a.made[hello.ServerName] = c
	return c, nil
}

// serveServices serves what checks look at: every exchange's web server, and every
// pool, at all addresses of the internet.
func (w *world) serveServices() {
	w.Helper()
	builtin, err := catalogue.Builtin()
	w.must(err)
	ports := map[uint16]bool{443: true}
	for _, s := range builtin.Services() {
		for _, p := range s.Pools {
			ports[p.Port] = true
		}
	}
	delete(ports, 80) // has a server of its own
	var listen []string
	for port := range ports {
		listen = append(listen, ":"+strconv.Itoa(int(port)))
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	a := w.newAuthority()
	go func() { // ends with the test
		w.in(w.net, func() {
			close(ready)
			ended <- serve.Stratum(ctx, serve.StratumOptions{Listen: listen, Certificate: a.certificate})
		})
	}()
	<-ready
	w.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	})
}
