package crowd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/routerd/routerd/test/lab/client"
)

// The times of short connections.
const (
	shortTime   = 10 * time.Second // an attempt takes this at the most, its lookup apart
	betweenLeas = 150 * time.Millisecond
	betweenMore = 450 * time.Millisecond
	mineTime    = time.Second
	echoTime    = time.Second // one datagram may be under way
	echoTries   = 4           // a client of UDP sends again
)

// work makes one short connection after another.
func (c *crowd) work(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, betweenLeas, betweenMore) {
		targets, listed := c.o.Unlisted, false
		if r.IntN(2) == 0 {
			targets, listed = c.o.Listed, true
		}
		t := targets[r.IntN(len(targets))]
		a := Attempt{Kind: chooseKind(r, t), Name: t.Name, Listed: listed, Family: 4 + 2*r.IntN(2)}
		c.tell(ctx, c.attempt(ctx, r, a, t))
	}
}

// chooseKind takes one of the kinds that a target can do: TLS is the dearest.
func chooseKind(r *rand.Rand, t Target) Kind {
	kinds := []Kind{HTTP, HTTP, HTTP, HTTPS, UDP, QUIC}
	if t.Port != 0 {
		kinds = []Kind{Stratum, Stratum, UDP}
	}
	return kinds[r.IntN(len(kinds))]
}

// attempt makes one connection.
func (c *crowd) attempt(ctx context.Context, r *rand.Rand, a Attempt, t Target) Attempt {
	a.Begin = Now()
	err := c.connect(ctx, r, &a, t)
	a.End, a.OK = Now(), err == nil
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func (c *crowd) connect(ctx context.Context, r *rand.Rand, a *Attempt, t Target) error {
	to, err := c.find(ctx, r, a)
	if err != nil {
		return err
	}
	a.Address = to.String()
	ctx, stop := context.WithTimeout(ctx, shortTime)
	defer stop()
	switch a.Kind {
	case UDP:
		return echo(ctx, netip.AddrPortFrom(to, 7))
	case QUIC:
		return echo(ctx, netip.AddrPortFrom(to, 443))
	case Stratum:
		return mine(ctx, netip.AddrPortFrom(to, t.Port))
	case HTTPS:
		a.Seen, err = get(ctx, netip.AddrPortFrom(to, 443), a.Name, true)
	default:
		a.Seen, err = get(ctx, netip.AddrPortFrom(to, 80), a.Name, false)
	}
	return err
}

// get opens a page and gives back the client's address as the server names it.
func get(ctx context.Context, to netip.AddrPort, name string, secure bool) (seen string, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if secure {
		s := tls.Client(conn, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12})
		if err := s.HandshakeContext(ctx); err != nil {
			return "", fmt.Errorf("shake hands: %w", err)
		}
		conn = s
	}
	return newPage(conn, name).ask()
}

// echo sends datagrams until one comes back.
func echo(ctx context.Context, to netip.AddrPort) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", to.String())
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer conn.Close()
	answer := make([]byte, 2048)
	for i := range echoTries {
		data := append(make([]byte, 120), strconv.Itoa(i)...)
		if err = exchange(conn, data, answer); err == nil {
			return nil
		}
		var late net.Error
		if ctx.Err() != nil || !errors.As(err, &late) || !late.Timeout() {
			break
		}
	}
	return err
}

// exchange sends one datagram and waits for it.
func exchange(conn net.Conn, data, answer []byte) error {
	_ = conn.SetDeadline(time.Now().Add(echoTime))
	if _, err := conn.Write(data); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if bytes.Equal(answer[:n], data) {
			return nil
		}
	}
}

// mine begins a miner's session and ends it after a moment.
func mine(ctx context.Context, to netip.AddrPort) error {
	// An address needs no lookup; the client wants to be told some server.
	o := client.Options{Server: to.String(), Family: 4}
	s, err := client.Stratum(ctx, o, to.String(), false, mineTime)
	switch {
	case err != nil:
		return fmt.Errorf("mine: %w", err)
	case s.Error != "":
		return errors.New(s.Error)
	case !s.Authorized:
		return errors.New("not authorised in time")
	}
	return nil
}
