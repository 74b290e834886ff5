package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// Target is a name to connect to.
type Target struct {
	Name string `json:"name"`
	Port uint16 `json:"port,omitempty"` // of its Stratum server; 0: it has none
}

// Orders say what a client does.
type Orders struct {
	Client   string   `json:"client"` // its name in what is told
	Seed     uint64   `json:"seed"`
	Listed   []Target `json:"listed"`
	Unlisted []Target `json:"unlisted"`
	// Servers are DNS servers, address:port, of which each lookup asks one.
	Servers []string `json:"servers"`
	// Workers is how many short connections are made at once.
	Workers int `json:"workers"`
	// Lasting is how many connections last, of each family, listed and unlisted.
	Lasting int `json:"lasting"`
}

// Run does what the orders on in say and writes one Attempt a line to out, until
// ctx ends.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	var o Orders
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	c := &crowd{o: o, out: json.NewEncoder(out), known: map[question]answer{}}
	var all sync.WaitGroup
	for i := range o.Workers {
		all.Go(func() { c.work(ctx, c.random(uint64(i))) }) // ends with ctx
	}
	for _, listed := range []bool{true, false} {
		for _, family := range []int{4, 6} {
			for i := range o.Lasting {
				r := c.random(uint64(1000 + 100*family + 10*i))
				all.Go(func() { c.stay(ctx, r, listed, family) }) // ends with ctx
			}
		}
	}
	for _, family := range []int{4, 6} {
		all.Go(func() { c.probe(ctx, c.random(uint64(2000+family)), family) }) // ends with ctx
	}
	all.Go(func() { c.control(ctx, c.random(3000)) }) // ends with ctx
	all.Wait()
	return c.failed
}

// crowd is what the client's goroutines share.
type crowd struct {
	o Orders

	outMu  sync.Mutex
	out    *json.Encoder // guarded by outMu
	failed error         // to write; guarded by outMu

	knownMu sync.Mutex
	known   map[question]answer // guarded by knownMu
}

// random gives a goroutine its own source of chance.
func (c *crowd) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(c.o.Seed, stream)) }

// tell writes an attempt down. One that was cut short by the end of ctx is none.
func (c *crowd) tell(ctx context.Context, a Attempt) {
	if ctx.Err() != nil && !a.OK {
		return
	}
	a.Client = c.o.Client
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if err := c.out.Encode(a); err != nil && c.failed == nil {
		c.failed = fmt.Errorf("tell of an attempt: %w", err)
	}
}

// pause waits between least and least+more, or until ctx ends; it says whether
// to go on.
func pause(ctx context.Context, r *rand.Rand, least, more time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(least + time.Duration(r.Int64N(int64(more)))):
		return true
	}
}
