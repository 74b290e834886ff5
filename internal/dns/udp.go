package dns

import (
	"context"
	"errors"
	"net"
	"time"
)

// A question is sent up to three times, a second apart. Answers to each sending
// are taken until the question's time is up: on a line with a long queue all take
// longer than a second.
const (
	udpSendings = 3
	resendAfter = time.Second
)

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
	return race(ctx, udpSendings, resendAfter, func(ctx context.Context, _ int) (*answer, error) {
		a, err := u.once(ctx, query)
		if errors.Is(err, errTruncated) || errors.Is(err, errDoubtful) {
			return u.tcp.exchange(ctx, query)
		}
		return a, err
	}, func(*answer) {})
}

func isTimeout(err error) bool {
	n := net.Error(nil)
	return errors.As(err, &n) && n.Timeout()
}

// once sends the query and waits for an answer to it, until ctx ends.
func (u *udpExchanger) once(ctx context.Context, query []byte) (*answer, error) {
	conn, err := u.opener.open(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ends := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer ends()
	if ctx.Err() != nil {
		return nil, &layerError{LayerTimeout, context.Cause(ctx)}
	}
	sent := append([]byte(nil), query...)
	randomize(sent)
	if _, err := conn.Write(sent); err != nil {
		return nil, &layerError{LayerConnect, err}
	}
	return receive(ctx, conn, sent)
}

// receive reads until an answer comes that is for what was sent. For one that is
// better than a doubtful one it waits a second from the sending.
func receive(ctx context.Context, conn net.Conn, sent []byte) (*answer, error) {
	until := time.Now().Add(resendAfter)
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
			_ = conn.SetDeadline(until)
		}
		if ctx.Err() != nil { // its end may have come before the deadline was set anew
			return nil, &layerError{LayerTimeout, context.Cause(ctx)}
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
