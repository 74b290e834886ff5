package web

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// script is a connection whose other side says what it was told once two requests
// have come, and closes.
type script struct {
	net.Conn
	in     *bytes.Reader
	asked  chan struct{} // closed once the requests have come
	mu     sync.Mutex    // guards what follows
	writes int
}

func newScript(text []byte) *script {
	return &script{in: bytes.NewReader(text), asked: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error) {
	<-s.asked
	return s.in.Read(p)
}

// Write takes everything; each request is one write.
func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes++; s.writes == 2 {
		close(s.asked)
	}
	return len(p), nil
}

func (*script) Close() error                     { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
