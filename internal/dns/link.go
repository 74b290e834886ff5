package dns

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/routerd/routerd/internal/certs"
	"github.com/routerd/routerd/internal/sorting"
)

const (
	// hedgeAfter is how long one upstream may take before the next one is asked
	// beside it.
	hedgeAfter = 400 * time.Millisecond
	// backOff is how long an upstream that failed comes last; it doubles with
	// each failure up to maxBackOff.
	backOff    = time.Second
	maxBackOff = time.Minute
)

// exchanger asks one upstream by one path.
type exchanger interface {
	// exchange asks a query with the id 0 and gives the checked answer.
	exchange(ctx context.Context, query []byte) (*answer, error)
	// reset closes connections over which nothing has come since.
	reset(since time.Time)
	// close ends connections and what is under way on them. Flights may ask after it:
	// but for single datagrams they get an error, once a connection was made in vain.
	close()
}

// UpstreamError says which upstream failed, by which path and at which layer
// (the Layer constants).
type UpstreamError struct {
	Upstream string
	Path     Path
	Layer    string
	Err      error
}

// Error names the upstream and the layer.
func (e *UpstreamError) Error() string {
	return fmt.Sprintf("ask %s: %s: %v", e.Upstream, e.Layer, e.Err)
}

// Unwrap gives the reason.
func (e *UpstreamError) Unwrap() error { return e.Err }

// link is one upstream by one path, with its health.
type link struct {
	upstream  Upstream
	path      Path
	exchanger exchanger
	now       func() time.Time

	mu       sync.Mutex // guards what follows
	failures int
	until    time.Time // it comes last until then
	err      error     // the last one; nil since it last answered
}

func newLink(u Upstream, path Path, o *Options) *link {
	l := &link{upstream: u, path: path, now: o.Now}
	open := opener{upstream: u, path: path, dial: o.Dial}
	v := certs.Verifier{Host: u.Host(), Roots: o.Roots, Now: o.Now, Floor: o.Floor}
	tcp := &streamExchanger{connect: func(ctx context.Context) (net.Conn, error) { return open.open(ctx, "tcp") }}
	switch u.Scheme() {
	case SchemeHTTPS:
		l.exchanger = newDoH(open, v.Config("h2", "http/1.1"))
	case SchemeTLS:
		config := v.Config("dot")
		l.exchanger = &streamExchanger{connect: func(ctx context.Context) (net.Conn, error) { return open.openTLS(ctx, config) }}
	case SchemeUDP:
		l.exchanger = &udpExchanger{opener: open, tcp: tcp}
	default:
		l.exchanger = tcp
	}
	return l
}

// softError is an answer that another upstream might better: SERVFAIL, REFUSED
// and other refusals.
type softError struct{ answer *answer }

func (e *softError) Error() string {
	return fmt.Sprintf("answered with response code %d", e.answer.rcode)
}

// ask asks once and keeps the score.
func (l *link) ask(ctx context.Context, query []byte) (*answer, error) {
	begun := time.Now()
	a, err := l.exchanger.exchange(ctx, query)
	if err == nil {
		l.answered()
		if a.rcode != rcodeSuccess && a.rcode != rcodeName {
			return nil, l.describe(&layerError{LayerAnswer, &softError{a}})
		}
		return a, nil
	}
	err = l.describe(err)
	if blamed(ctx, err) {
		l.failed(err, begun)
	}
	return nil, err
}

// blamed says whether an error is the upstream's own: not when the path is down,
// when we ask too much at a time, or when it was not given the time.
func blamed(ctx context.Context, err error) bool {
	if errors.Is(err, ErrPathDown) || errors.Is(err, errBusy) {
		return false
	}
	return ctx.Err() == nil || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

func (l *link) describe(err error) error {
	out := &UpstreamError{Upstream: l.upstream.String(), Path: l.path, Layer: LayerConnect, Err: err}
	if inner := (*layerError)(nil); errors.As(err, &inner) {
		out.Layer, out.Err = inner.layer, inner.err
	}
	if isTimeout(err) {
		out.Layer = LayerTimeout
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		out.Err = fmt.Errorf("%w (is the package ca-bundle installed?)", out.Err)
	}
	return out
}

func (l *link) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures, l.until, l.err = 0, time.Time{}, nil
}

// failed puts the upstream last for a while. Connections over which nothing has
// come since it was asked are taken for dead.
func (l *link) failed(err error, asked time.Time) {
	l.exchanger.reset(asked)
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := min(backOff<<min(l.failures, 10), maxBackOff)
	l.failures++
	l.until, l.err = l.now().Add(wait), err
}

func (l *link) state() UpstreamState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return UpstreamState{Upstream: l.upstream, Path: l.path, Err: l.err, Failures: l.failures, Resting: l.now().Before(l.until)}
}

func (l *link) resting() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Before(l.until) {
		return l.until
	}
	return time.Time{}
}

// order puts those that failed lately behind the others, the one that rests
// longest last. They are still asked when nobody else answers.
func order(links []*link) []*link {
	type rested struct {
		link  *link
		until time.Time
	}
	all := make([]rested, len(links))
	for i, l := range links {
		all[i] = rested{l, l.resting()}
	}
	sorting.By(all, func(a, b rested) int { return a.until.Compare(b.until) })
	out := make([]*link, len(links))
	for i, r := range all {
		out[i] = r.link
	}
	return out
}

// askAll asks upstreams in order, the next one beside those that take long,
// and gives the first good answer; else the first refusal that one of them
// gave, as softError within the error.
func askAll(ctx context.Context, links []*link, query []byte) (*answer, error) {
	if len(links) == 0 {
		return nil, errors.New("no resolver is set")
	}
	ordered := order(links)
	begun := time.Now()
	ended := make([]atomic.Bool, len(ordered))
	type won struct {
		answer *answer
		by     int
	}
	w, err := race(ctx, len(ordered), hedgeAfter, func(ctx context.Context, i int) (won, error) {
		defer ended[i].Store(true)
		a, err := ordered[i].ask(ctx, query)
		return won{a, i}, err
	}, func(won) {})
	if err != nil {
		return nil, err
	}
	// Whoever was asked earlier and still has no answer was outrun.
	for i, l := range ordered[:w.by] {
		if !ended[i].Load() {
			l.failed(l.describe(&layerError{LayerTimeout, errOutrun}), begun)
		}
	}
	return w.answer, nil
}
