package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/certs"
)

// neutralName is the server name of a handshake that shows whether another name
// fares better at the same address. It is reserved for examples (RFC 2606).
const neutralName = "www.example.com"

// session speaks to the target over a connection and closes it. Its end by ctx comes
// from another goroutine, which knows the connection as it was given alone.
func (x *probe) session(ctx context.Context, raw net.Conn, address netip.AddrPort) Session {
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	s := Session{Address: address}
	conn := raw
	if x.target.Encrypted() {
		var secured *tls.Conn
		if secured, s.TLS = x.handshake(ctx, raw); s.TLS.Failure.Fault != FaultNone {
			return s
		}
		defer secured.Close()
		conn = secured
	}
	switch x.target.Scheme {
	case catalogue.SchemeHTTPS, catalogue.SchemeHTTP:
		x.http(ctx, conn, &s)
	case catalogue.SchemeStratumTCP, catalogue.SchemeStratumSSL:
		s.Stratum = x.stratum(ctx, conn)
	}
	return s
}

// failed says whether a step failed in a way that may be chance.
func (s Session) failed() bool {
	return s.TLS != nil && s.TLS.Failure.Fault != FaultNone ||
		s.HTTP != nil && s.HTTP.Failure.Fault != FaultNone ||
		s.Stratum != nil && s.Stratum.Failure.Fault != FaultNone ||
		s.Transfer != nil && s.Transfer.Failure.Fault != FaultNone && s.Transfer.Failure.Fault != FaultSlow
}

// handshake proves who the server is.
func (x *probe) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, *Handshake) {
	v := certs.Verifier{Host: x.target.Host, Roots: x.o.Roots, Now: x.o.Now, Floor: x.o.Floor}
	h := &Handshake{}
	config := v.Config(x.protocols()...)
	unproven := error(nil)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if unproven = v.Verify(state); unproven != nil && len(state.PeerCertificates) > 0 {
			c := state.PeerCertificates[len(state.PeerCertificates)-1]
			h.Issuer = clean(c.Issuer.CommonName)
		}
		return unproven
	}
	secured := tls.Client(conn, config)
	began := time.Now()
	err := x.timed(ctx, conn, x.o.Times.TLS, secured.Handshake)
	h.Took, h.Failure = time.Since(began), failure(err)
	if unproven != nil {
		h.Failure = Failure{FaultCertificate, clean(strings.TrimPrefix(unproven.Error(), "x509: "))}
	}
	return secured, h
}

// protocols are those of ALPN: what an ordinary client without HTTP/2 offers, and
// none with what is not HTTP.
func (x *probe) protocols() []string {
	if x.target.Scheme == catalogue.SchemeHTTPS {
		return []string{"http/1.1"}
	}
	return nil
}

// timed does a step on a connection within a time, and the slack of its queue.
func (x *probe) timed(ctx context.Context, conn net.Conn, limit time.Duration, step func() error) error {
	limit += slack(conn, limit)
	defer x.watch(limit)()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if ctx.Err() != nil { // its end may have come before the deadline was set anew
		return context.Cause(ctx)
	}
	return step()
}

// otherName tries a handshake with the same address and a neutral name. Any
// answer to the hello is a success, whatever it says.
// It is tried again where nothing comes: packets are lost.
func (x *probe) otherName(ctx context.Context, address netip.AddrPort) *Failure {
	f := x.otherHello(ctx, address)
	if f.Fault == FaultTimeout && ctx.Err() == nil {
		f = x.otherHello(ctx, address)
	}
	return &f
}

func (x *probe) otherHello(ctx context.Context, address netip.AddrPort) Failure {
	conn, err := x.connect(ctx, address, x.o.Times.Other)
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	answered := errors.New("answered")
	client := tls.Client(conn, &tls.Config{
		ServerName: neutralName, InsecureSkipVerify: true, NextProtos: x.protocols(), MinVersion: tls.VersionTLS12,
		// Nothing is sent over this connection: whose certificate it is does not matter.
		VerifyConnection: func(tls.ConnectionState) error { return answered },
	})
	f := failure(x.timed(ctx, conn, x.o.Times.Other, client.Handshake))
	if f.Fault != FaultReset && f.Fault != FaultTimeout && f.Fault != FaultClosed {
		f = Failure{}
	}
	return f
}
