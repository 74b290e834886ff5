package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// bulkPort is where the internet's server of downloads listens, at every address.
const bulkPort = 7777

// manyConnections is how many downloads there are at once where there are many.
const manyConnections = 64

// bulkServer is where downloads come from.
func bulkServer(listed bool) netip.Addr {
	if listed {
		return netip.AddrFrom4([4]byte{22, 10, 200, 1})
	}
	return netip.AddrFrom4([4]byte{22, 10, 100, 1})
}

// serveBulk has a host of the lab give connections as much as they take, until the
// listener is closed.
func (r *run) serveBulk(host string) (l net.Listener, err error) {
	err = r.lab.Inside(host, func() error {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", bulkPort))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve downloads on %s: %w", host, err)
	}
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go give(c) // ends with its connection
		}
	}()
	return l, nil
}

// give writes until the other side has enough.
func give(c net.Conn) {
	defer c.Close()
	block := make([]byte, 128<<10)
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// download takes what a server gives over n connections at once, and gives back how
// many bits a second came.
func (r *run) download(ctx context.Context, host string, server netip.Addr, n int, d time.Duration) (float64, error) {
	conns, err := r.dial(host, server, n)
	if err != nil {
		return 0, err
	}
	var got atomic.Int64
	readers := take(conns, &got)
	// What came while connections opened does not count.
	begin, before := time.Now(), got.Load()
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(d):
	}
	bits := 8 * float64(got.Load()-before) / time.Since(begin).Seconds()
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	readers.Wait()
	if bits == 0 && err == nil {
		err = fmt.Errorf("nothing came from %s: %w", server, io.ErrUnexpectedEOF)
	}
	return bits, err
}

// take reads from connections until they are closed, and counts octets.
func take(conns []net.Conn, got *atomic.Int64) *sync.WaitGroup {
	var readers sync.WaitGroup
	for _, c := range conns {
		readers.Go(func() { // ends with its connection
			b := make([]byte, 256<<10)
			for {
				n, err := c.Read(b)
				got.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	return &readers
}

// dial opens connections from a host: all of them, or none.
func (r *run) dial(host string, server netip.Addr, n int) (conns []net.Conn, err error) {
	err = r.lab.Inside(host, func() error {
		for range n {
			c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(server, bulkPort).String(), patience)
			if err != nil {
				return fmt.Errorf("reach %s: %w", server, err)
			}
			conns = append(conns, c)
		}
		return nil
	})
	if err != nil {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return conns, nil
}

// bulk is one comparison of downloads.
type bulk struct {
	what       string
	listed     bool
	base, ours string // subjects
	target     float64
}

// bulks measures downloads over TCP. The kernel hands packets on in large pieces, so
// that a router's work is a small part of it.
func (r *run) bulks(ctx context.Context, subjects map[string]*subject) ([]Row, error) {
	var rows []Row
	for _, b := range []bulk{
		{"unsteered", false, plainRouter, mostRules, leastUnsteered},
		{"steered", true, mostSet, mostRules, leastSteered},
	} {
		more, err := r.bulk(ctx, subjects, b)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (r *run) bulk(ctx context.Context, subjects map[string]*subject, b bulk) ([]Row, error) {
	for _, name := range []string{b.base, b.ours} {
		l, err := subjects[name].serveBulk(lab.Net)
		if err != nil {
			return nil, err
		}
		defer l.Close()
	}
	var rows []Row
	for _, n := range []int{1, manyConnections} {
		row := Row{
			What: fmt.Sprintf("%s, TCP, %s", b.what, plural(n, "connection")), Base: b.base, Ours: b.ours,
			Unit: "Gbit/s", More: true, Target: b.target,
		}
		one := func(name string, into *[]float64) func(context.Context) error {
			return func(ctx context.Context) error {
				bits, err := subjects[name].download(ctx, lab.Client, bulkServer(b.listed), n, r.Each/4)
				*into = append(*into, bits/1e9)
				return err
			}
		}
		if err := r.turns(ctx, row.What, [2]func(context.Context) error{one(b.base, &row.Theirs), one(b.ours, &row.Got)}); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
