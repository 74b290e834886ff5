package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// streamIdle is how long a connection to an upstream may say nothing.
	streamIdle = 20 * time.Second
	// dialTime bounds opening one, whoever waits for it.
	dialTime = 4 * time.Second
	// maxPending bounds the queries on one connection.
	maxPending = 512
)

var (
	errClosed = errors.New("the connection has been closed")
	errBusy   = errors.New("too many queries wait on the connection")
)

// streamExchanger asks over TCP or TLS: one connection, kept, with many queries
// under way whose answers come in any order (RFC 7766 6.2.1.1).
type streamExchanger struct {
	connect func(context.Context) (net.Conn, error)

	mu      sync.Mutex // guards what follows
	pipe    *pipe
	opening *opening
	closed  bool
}

// opening is a connection being made; whoever needs it waits for done.
type opening struct {
	done chan struct{}
	pipe *pipe
	err  error
}

func (s *streamExchanger) exchange(ctx context.Context, query []byte) (*answer, error) {
	for {
		p, fresh, err := s.get(ctx)
		if err != nil {
			return nil, err
		}
		msg, sent, err := p.ask(ctx, query)
		if err == nil {
			a, err := parseAnswer(msg, sent, false)
			if err != nil {
				return nil, &layerError{LayerAnswer, err}
			}
			return a, nil
		}
		// The server may have closed a kept connection just now. One that lives has no
		// room, and would not have any at once.
		if fresh || ctx.Err() != nil || !p.over() {
			return nil, err
		}
	}
}

// get gives the connection; fresh says that it was made for this call.
func (s *streamExchanger) get(ctx context.Context) (p *pipe, fresh bool, err error) {
	s.mu.Lock()
	if s.pipe != nil && !s.pipe.over() {
		p = s.pipe
		s.mu.Unlock()
		return p, false, nil
	}
	o := s.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		s.opening = o
		// Ends by dialTime; not with ctx, since others may wait for it too.
		go s.open(o)
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.pipe, true, o.err
	case <-ctx.Done():
		return nil, false, &layerError{LayerTimeout, fmt.Errorf("no connection yet: %w", context.Cause(ctx))}
	}
}

func (s *streamExchanger) open(o *opening) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	conn, err := s.connect(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = nil
	switch {
	case err != nil:
		o.err = err
	case s.closed:
		_ = conn.Close()
		o.err = &layerError{LayerConnect, errClosed}
	default:
		o.pipe = newPipe(conn)
		s.pipe = o.pipe
	}
	close(o.done)
}

// reset closes a connection over which nothing has come since a time.
func (s *streamExchanger) reset(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe != nil && s.pipe.heard.Load() < since.UnixNano() {
		s.pipe.end(errClosed)
		s.pipe = nil
	}
}

func (s *streamExchanger) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.pipe != nil {
		s.pipe.end(errClosed)
	}
}

// pipe is one connection with the queries under way on it.
type pipe struct {
	conn  net.Conn
	heard atomic.Int64  // when a message last came, Unix time in nanoseconds
	done  chan struct{} // closed once err is set

	write   sync.Mutex // makes a message on conn whole
	mu      sync.Mutex // guards what follows
	pending map[uint16]chan<- []byte
	err     error
}

func newPipe(conn net.Conn) *pipe {
	p := &pipe{conn: conn, done: make(chan struct{}), pending: map[uint16]chan<- []byte{}}
	go p.read() // ends when conn is closed or has been idle
	return p
}

func (p *pipe) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end closes the connection; the first reason given stays.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		_ = p.conn.Close()
		close(p.done)
	}
}

func (p *pipe) read() {
	r := bufio.NewReaderSize(p.conn, 2048)
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(streamIdle))
		msg, err := readMessage(r)
		if err != nil {
			p.end(err)
			return
		}
		p.heard.Store(time.Now().UnixNano())
		if len(msg) < headerLen {
			continue
		}
		p.mu.Lock()
		id := binary.BigEndian.Uint16(msg)
		if waiting := p.pending[id]; waiting != nil {
			delete(p.pending, id)
			waiting <- msg
		}
		p.mu.Unlock()
	}
}

// readMessage reads a message with its length before it, RFC 1035 4.2.2.
func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// ask sends a query under an id of its own and waits for its answer; sent is
// what the answer is for.
func (p *pipe) ask(ctx context.Context, query []byte) (msg, sent []byte, err error) {
	answers := make(chan []byte, 1)
	id, err := p.register(answers)
	if err != nil {
		return nil, nil, &layerError{LayerConnect, err}
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	framed = append(framed, query...)
	sent = framed[2:]
	binary.BigEndian.PutUint16(sent, id)
	if err := p.send(framed); err != nil {
		p.end(err)
		return nil, nil, &layerError{LayerConnect, err}
	}
	select {
	case msg := <-answers:
		return msg, sent, nil
	case <-p.done:
		// The answer may have come just before the end.
		select {
		case msg := <-answers:
			return msg, sent, nil
		default:
			return nil, nil, &layerError{LayerConnect, p.err}
		}
	case <-ctx.Done():
		p.forget(id)
		return nil, nil, &layerError{LayerTimeout, context.Cause(ctx)}
	}
}

func (p *pipe) register(answers chan<- []byte) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	if len(p.pending) >= maxPending {
		return 0, errBusy
	}
	for {
		id := uint16(rand.Uint32())
		if p.pending[id] == nil {
			p.pending[id] = answers
			return id, nil
		}
	}
}

func (p *pipe) forget(id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, id)
}

func (p *pipe) send(framed []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(dialTime))
	_, err := p.conn.Write(framed)
	return err
}
