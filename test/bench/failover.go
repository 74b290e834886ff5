package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// twoTunnels send one address by a tunnel, or by another when that is dead.
const twoTunnels = `config routerd 'main'
	option dns 'observe'
	list lan 'br-lan'

config tunnel 'home'
	option config '/etc/routerd/home.conf'

config tunnel 'other'
	option config '/etc/routerd/other.conf'
	option priority '20'

config destination 'listed'
	list address '%s'
	option policy 'tunnel'
	option fallback 'block'
`

// failOver measures how long a client that downloads all the while finds no way to a
// server, from when the provider drops the tunnel's packets.
func (s *subject) failOver(ctx context.Context) (Row, error) {
	row := Row{What: "a tunnel in use dies: no new connections for", Base: "–", Ours: "routerd", Unit: "ms"}
	l, err := s.serveBulk(lab.Net)
	if err != nil {
		return row, err
	}
	defer l.Close()
	for i := range s.Rounds {
		s.say("fail-over, round %d of %d", i+1, s.Rounds)
		d, err := s.failOverOnce(ctx)
		if err != nil {
			return row, fmt.Errorf("fail over: %w", err)
		}
		row.Got = append(row.Got, ms(d))
	}
	return row, nil
}

func (s *subject) failOverOnce(ctx context.Context) (_ time.Duration, err error) {
	server := bulkServer(true)
	s.daemon, err = s.startUntil(ctx, fmt.Sprintf(twoTunnels, server), func() bool {
		return s.tunnels(func(t control.TunnelStatus) bool { return t.Watched }) == 2
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, s.stopDaemon(context.WithoutCancel(ctx), s.daemon))
		s.daemon = nil
	}()
	conns, err := s.dial(lab.Client, server, 1)
	if err != nil {
		return 0, err
	}
	defer conns[0].Close()
	go func() { // ends with the connection
		b := make([]byte, 64<<10)
		for {
			if _, err := conns[0].Read(b); err != nil {
				return
			}
		}
	}()
	exit := []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(lab.ExitAddress4), 32)}
	undo, err := s.lab.Interfere(ctx, lab.Interference{Kind: interfere.Drop, Addresses: exit})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	begin := time.Now()
	err = poll(ctx, func() bool { return s.reaches(server) })
	return time.Since(begin), err
}

// tryFor is how long a client waits for a connection before it tries anew.
const tryFor = 200 * time.Millisecond

// reaches tries once to connect.
func (s *subject) reaches(server netip.Addr) bool {
	return s.lab.Inside(lab.Client, func() error {
		c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(server, bulkPort).String(), tryFor)
		if err != nil {
			return err
		}
		return c.Close()
	}) == nil
}
