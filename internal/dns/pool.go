package dns

import (
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// pool does jobs in a bounded number of goroutines that live while there are
// jobs.
type pool struct {
	limit   int // of goroutines
	backlog int // of jobs that wait for one

	mu      sync.Mutex // guards what follows
	queue   []func()
	running int
	ended   sync.WaitGroup
}

func newPool(limit, backlog int) *pool { return &pool{limit: limit, backlog: backlog} }

// do does a job soon; false when there are too many.
func (p *pool) do(job func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.running < p.limit:
		p.running++
		p.ended.Add(1)
		go p.run(job) // ends when no job is left; wait waits for it
	case len(p.queue) < p.backlog:
		p.queue = append(p.queue, job)
	default:
		return false
	}
	return true
}

func (p *pool) run(job func()) {
	defer p.ended.Done()
	for {
		job()
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.queue = nil
			p.running--
			p.mu.Unlock()
			return
		}
		job, p.queue = p.queue[0], p.queue[1:]
		p.mu.Unlock()
	}
}

// wait returns when all jobs are done.
func (p *pool) wait() { p.ended.Wait() }

// maxClients bounds the clients whose rate is remembered.
const maxClients = 512

// limiter bounds how many queries of one client may cost something: what the
// cache answers is free.
type limiter struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex // guards clients
	clients map[netip.Addr]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, clients: map[netip.Addr]*rate.Limiter{}}
}

func (l *limiter) allow(client netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[client]
	if c == nil {
		if len(l.clients) >= maxClients {
			l.forget()
		}
		c = rate.NewLimiter(l.rate, l.burst)
		l.clients[client] = c
	}
	return c.Allow()
}

// forget makes room: those with nothing to remember leave, and where that is
// nobody, anybody.
func (l *limiter) forget() {
	for a, c := range l.clients {
		if c.Tokens() >= float64(l.burst) {
			delete(l.clients, a)
		}
	}
	for a := range l.clients {
		if len(l.clients) < maxClients {
			return
		}
		delete(l.clients, a)
	}
}
