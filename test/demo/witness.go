package demo

import (
	"context"
	"net/netip"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// settleTime bounds the wait for the last packets of a connection.
const settleTime = time.Second

// counts is how many packets went to one address.
type counts struct{ isp, exit uint64 }

// witness reads the counters that stand outside the router.
type witness struct{ lab *lab.Lab }

// to counts packets to an address since the lab was raised.
func (w witness) to(a netip.Addr) (counts, error) {
	isp, err := w.lab.Counts(lab.ISP)
	if err != nil {
		return counts{}, err
	}
	exit, err := w.lab.Counts(lab.Exit)
	return counts{isp[a], exit[a]}, err
}

// since counts packets to an address beyond those of before, when no more come:
// two looks in a row see the same.
func (w witness) since(ctx context.Context, a netip.Addr, before counts) (counts, error) {
	last, err := w.to(a)
	if err != nil {
		return counts{}, err
	}
	deadline := time.Now().Add(settleTime)
	for time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return counts{}, ctx.Err()
		case <-time.After(pollEvery):
		}
		now, err := w.to(a)
		if err != nil {
			return counts{}, err
		}
		if now == last {
			break
		}
		last = now
	}
	return counts{last.isp - before.isp, last.exit - before.exit}, nil
}
