// Package certs checks servers' certificates at a time that also holds on a
// router whose clock is not set yet. Whoever connects over TLS takes its check
// from here, so that there is one.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Verifier checks one server's certificate. The zero value of Roots means the
// system's authorities; the other fields are needed.
type Verifier struct {
	Host  string           // the name or address that the certificate is for
	Roots *x509.CertPool   // nil: the system's
	Now   func() time.Time // the clock, whatever it shows
	Floor time.Time        // a time that has passed for certain, the build's: a clock that shows less is not set
}

// Config is for one connection to the server, with the protocols of ALPN. The
// standard check is replaced, not left out: Verify does the same at another
// time.
func (v Verifier) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		ServerName: v.Host, NextProtos: protocols, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, VerifyConnection: v.Verify,
	}
}

// Verify checks chain, name and time as crypto/tls does. It is made for
// tls.Config.VerifyConnection; its errors are those of package x509.
func (v Verifier) Verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	opts := x509.VerifyOptions{
		Roots: v.Roots, DNSName: v.Host, CurrentTime: v.validAt(state.PeerCertificates), Intermediates: x509.NewCertPool(),
	}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}

// validAt is now, once the clock is set. Before, all that is known is that the
// floor has passed: a certificate that was issued later is taken to be valid
// from the start, one that ended before the floor has ended.
func (v Verifier) validAt(chain []*x509.Certificate) time.Time {
	now := v.Now()
	if !now.Before(v.Floor) {
		return now
	}
	now = v.Floor
	for _, c := range chain {
		if c.NotBefore.After(now) {
			now = c.NotBefore
		}
	}
	return now
}
