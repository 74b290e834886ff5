package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/upstream"
)

// stubTimes are how long each sending of AskAsClient waits for its answer.
var stubTimes = [...]time.Duration{time.Second, time.Second, 1500 * time.Millisecond, 2 * time.Second}

// stubLate is how long AskAsClient goes on listening once it has an answer: one
// that was injected on the way is followed by the true one, which a resolver may have
// to fetch first.
const stubLate = 500 * time.Millisecond

// stubAnswers bounds the answers to one question.
const stubAnswers = 4

// AskAsClient asks one server over UDP, past cache and upstreams, in the way of
// an ordinary client: it believes the first answer that has the id and the
// question, and only a truncated one makes it ask again over TCP. To say what
// clients get, it has none of the defences of Ask. The first of the answers is
// what a client would have taken; others are what came for the same question
// right after. Nothing within 5.5 s is an error whose Layer is LayerTimeout.
func (r *Resolver) AskAsClient(ctx context.Context, server netip.AddrPort, p Path, name string, qtype Type) ([]Answer, error) {
	wire, err := nameWire(name)
	if err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	u := upstream.Plain(server, false)
	s := stub{opener{upstream: u, path: p, dial: r.o.Dial}, newKey(wire, qtype, p).message()}
	answers, err := s.ask(ctx)
	if errors.Is(err, errTruncated) {
		a, err := r.Ask(ctx, upstream.Plain(server, true), p, name, qtype)
		return []Answer{a}, err
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, (&link{upstream: u, path: p}).describe(err))
	}
	out := make([]Answer, len(answers))
	for i, a := range answers {
		out[i] = found{a, aged{limit: uint32(r.o.MaxTTL / time.Second)}}.describe()
	}
	return out, nil
}

// stub asks one question as an ordinary client does.
type stub struct {
	opener opener
	query  []byte // with the id 0
}

func (s stub) ask(ctx context.Context) (answers []*answer, err error) {
	for _, wait := range stubTimes {
		answers, err = s.once(ctx, wait)
		if err == nil || ctx.Err() != nil || !isTimeout(err) {
			return answers, err
		}
	}
	return nil, err
}

// once sends the query from a port of its own and takes what comes for it.
func (s stub) once(ctx context.Context, wait time.Duration) ([]*answer, error) {
	conn, err := s.opener.open(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sent := append([]byte(nil), s.query...)
	randomize(sent)
	lower(sent[headerLen : len(sent)-optFixedLen-4])
	if _, err := conn.Write(sent); err != nil {
		return nil, &layerError{LayerConnect, err}
	}
	return s.collect(ctx, conn, sent, wait)
}

func readError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return &layerError{LayerTimeout, context.Cause(ctx)}
	case isTimeout(err):
		return &layerError{LayerTimeout, err}
	}
	return &layerError{LayerConnect, err}
}

func (s stub) collect(ctx context.Context, conn net.Conn, sent []byte, wait time.Duration) (answers []*answer, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil && len(answers) > 0 {
			return answers, nil
		}
		if err != nil {
			return nil, readError(ctx, err)
		}
		a, err := parseAnswer(buf[:n], sent, true)
		switch {
		case errors.Is(err, errTruncated) && len(answers) == 0:
			return nil, err
		case err != nil:
			continue
		case len(answers) == 0:
			_ = conn.SetReadDeadline(time.Now().Add(stubLate))
		}
		if answers = append(answers, a); len(answers) == stubAnswers {
			return answers, nil
		}
	}
}
