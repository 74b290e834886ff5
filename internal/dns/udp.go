package dns

import (
	"context"
	"errors"
	"net"
	"time"
)

// udpTimes are how long each sending waits for its answer; the last one waits
// until the context ends.
var udpTimes = [...]time.Duration{time.Second, 1500 * time.Millisecond, 4 * time.Second}

// udpExchanger asks over UDP. Every sending has a socket, and so a source port,
// of its own, a new id and new letters; what does not repeat all of them is
// passed over, so that a forged answer does not even end the waiting.
//
// Who sits on the path sees all three. Injected answers of that kind mostly lack
// EDNS: an answer without it to a question with it is doubtful, and the question
// is asked again over TCP unless a better answer comes.
type udpExchanger struct {
	opener opener
	tcp    *streamExchanger
}

var errDoubtful = errors.New("only doubtful answers came over UDP")

func (u *udpExchanger) exchange(ctx context.Context, query []byte) (*answer, error) {
	var err error
	for _, wait := range udpTimes {
		var a *answer
		a, err = u.once(ctx, query, wait)
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, errTruncated), errors.Is(err, errDoubtful):
			return u.tcp.exchange(ctx, query)
		case ctx.Err() != nil, !isTimeout(err):
			return nil, err
		}
	}
	return nil, err
}

func isTimeout(err error) bool {
	n := net.Error(nil)
	return errors.As(err, &n) && n.Timeout()
}

// once sends the query and waits for an answer to it.
func (u *udpExchanger) once(ctx context.Context, query []byte, wait time.Duration) (*answer, error) {
	conn, err := u.opener.open(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ends := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer ends()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if ctx.Err() != nil {
		return nil, &layerError{LayerTimeout, context.Cause(ctx)}
	}
	sent := append([]byte(nil), query...)
	randomize(sent)
	if _, err := conn.Write(sent); err != nil {
		return nil, &layerError{LayerConnect, err}
	}
	return receive(conn, sent)
}

// receive reads until an answer comes that is for what was sent.
func receive(conn net.Conn, sent []byte) (*answer, error) {
	doubtful := false
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if isTimeout(err) {
			if doubtful {
				return nil, errDoubtful
			}
			return nil, &layerError{LayerTimeout, err}
		}
		if err != nil {
			return nil, &layerError{LayerConnect, err}
		}
		a, err := parseAnswer(buf[:n], sent, true)
		switch {
		case errors.Is(err, errTruncated):
			return nil, err
		case err == nil && a.edns:
			return a, nil
		case err == nil, sameButCase(buf[:n], sent):
			doubtful = true
		}
	}
}

// sameButCase says whether an answer has all but the letters right: a forger who
// guessed the id, or a server that does not keep case.
func sameButCase(msg, sent []byte) bool {
	_, err := matches(msg, sent, false)
	return err == nil
}

func (u *udpExchanger) reset(since time.Time) { u.tcp.reset(since) }
func (u *udpExchanger) close()                { u.tcp.close() }
