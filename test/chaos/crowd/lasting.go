package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// The times of connections that last.
const (
	askEvery    = 250 * time.Millisecond
	lastingWait = time.Minute // for an answer: longer than any event cuts the line
	lastingMost = 500         // questions over one connection, then a new one is made
	againAfter  = time.Second
)

// stay has one connection after another that lasts.
func (c *crowd) stay(ctx context.Context, r *rand.Rand, listed bool, family int) {
	targets := c.o.Unlisted
	if listed {
		targets = c.o.Listed
	}
	for pause(ctx, r, againAfter, againAfter) {
		t := targets[r.IntN(len(targets))]
		if t.Port != 0 {
			continue // on a pool's address port 80 may be its Stratum server's
		}
		a := Attempt{Kind: Lasting, Name: t.Name, Listed: listed, Family: family}
		to, err := c.find(ctx, r, &a)
		if err != nil {
			continue // short connections tell of lookups
		}
		a.Address = to.String()
		conn, err := (&net.Dialer{Timeout: shortTime}).DialContext(ctx, "tcp", netip.AddrPortFrom(to, 80).String())
		if err != nil {
			continue // and of these
		}
		a.Begin = Now()
		a.Seen, err = last(ctx, conn, a.Name)
		a.End, a.OK = Now(), err == nil
		if err != nil {
			a.Error = err.Error()
		}
		c.tell(ctx, a)
	}
}

// last uses a connection until it is old, it fails or ctx ends.
func last(ctx context.Context, conn net.Conn, name string) (seen string, err error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	p := newPage(conn, name)
	every := time.NewTicker(askEvery)
	defer every.Stop()
	for i := range lastingMost {
		_ = conn.SetDeadline(time.Now().Add(lastingWait))
		got, err := p.ask()
		if ctx.Err() != nil {
			return seen, nil // nothing was wrong until it was ended
		}
		if err != nil {
			return seen, fmt.Errorf("after %d answers: %w", i, err)
		}
		seen = got
		select {
		case <-ctx.Done():
			return seen, nil
		case <-every.C:
		}
	}
	return seen, nil
}
