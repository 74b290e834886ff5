package interfere

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// BlockPageText stands in every block page.
const BlockPageText = "Access to this resource is restricted by your provider"

// blockPageHTML is a whole page as providers show it.
const blockPageHTML = `<!DOCTYPE html>
<html><head><title>Access restricted</title></head>
<body><h1>Access restricted</h1><p>` + BlockPageText + `.</p></body></html>
`

// serveBlockPage answers HTTP and HTTPS at addresses, for whatever host, until
// ctx ends.
func serveBlockPage(ctx context.Context, a *impostor, name string, addresses []netip.Addr) error {
	own, err := a.certificate(name)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		for port, config := range map[uint16]*tls.Config{
			80:  nil,
			443: {Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12},
		} {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(address, port).String())
			if err != nil {
				return fmt.Errorf("listen for block page: %w", err)
			}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			server := &http.Server{Handler: http.HandlerFunc(blockPage), ReadHeaderTimeout: time.Minute}
			context.AfterFunc(ctx, func() { _ = server.Close() })
			go func() { _ = server.Serve(l) }() // ends with ctx
		}
	}
	return nil
}

func blockPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Server", "provider")
	_, _ = fmt.Fprint(w, blockPageHTML)
}

// impostor makes certificates that nobody trusts.
type impostor struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu    sync.Mutex // guards known
	known map[string]*tls.Certificate
}

func newImpostor() (*impostor, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of provider's authority: %w", err)
	}
	t := certificateFor("Provider Inspection Authority")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of provider's authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of provider's authority: %w", err)
	}
	return &impostor{key: key, cert: cert, known: map[string]*tls.Certificate{}}, nil
}

func certificateFor(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text()[:16])), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
	}
}

// certificate is the one for a name, made when first asked for.
func (a *impostor) certificate(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.known[name]; c != nil {
		return c, nil
	}
	t := certificateFor(name)
	t.DNSNames = []string{name}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.key}
	a.known[name] = c
	return c, nil
}

// answerBlocked answers a plain HTTP request with the block page or the way to
// it, and closes.
func answerBlocked(w *bufio.Writer, answer, page string) error {
	head := "HTTP/1.1 302 Found\r\nLocation: http://" + page + "/\r\n"
	body := ""
	if answer == AnswerPage {
		head, body = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n", blockPageHTML
	}
	if _, err := fmt.Fprintf(w, "%sServer: provider\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body); err != nil {
		return fmt.Errorf("answer with block page: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("answer with block page: %w", err)
	}
	return nil
}
