package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Server answers requests of HTTP/1.1 and 1.0. The fields are set before it serves;
// it serves one listener, once.
type Server struct {
	// Handler answers one request, in a goroutine of the request's connection.
	Handler func(*ResponseWriter, *Request)
	// Base is what requests' contexts come from.
	Base     context.Context
	Log      *slog.Logger
	HeadTime time.Duration // for a request's head to arrive
	IdleTime time.Duration // of a kept connection
	MaxHead  int           // bytes of a request's head
	MaxConns int           // connections at a time; others wait to be accepted

	mu       sync.Mutex // guards what follows
	listener net.Listener
	conns    map[*serverConn]bool // true: a request of it is being answered
	slots    chan struct{}        // holds one token for each connection, and for Accept
	ended    chan struct{}        // closed with ending
	ending   bool
	serving  sync.WaitGroup // one for each connection
}

// errServerClosed is what Serve returns after Shutdown or Close.
var errServerClosed = errors.New("the server has been closed")

// Serve answers on a listener until Shutdown or Close, or until no more connections
// can be accepted.
func (s *Server) Serve(ln net.Listener) error {
	if !s.begin(ln) {
		_ = ln.Close()
		return errServerClosed
	}
	for wait := time.Duration(0); ; {
		conn, err := s.next(ln)
		switch {
		case err == nil:
			wait = 0
			s.accept(conn)
		case s.over():
			return errServerClosed
		case !passes(err):
			return err
		default:
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			s.Log.Warn("cannot accept a connection", "error", err, "again_in", wait)
			select {
			case <-time.After(wait):
			case <-s.ended:
			}
		}
	}
}

// next accepts a connection once there is room for it.
func (s *Server) next(ln net.Listener) (net.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.ended:
		return nil, errServerClosed
	}
	conn, err := ln.Accept()
	if err != nil {
		<-s.slots
	}
	return conn, err
}

// passes says whether accept(2) may work again by itself.
func passes(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *Server) begin(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.conns = ln, map[*serverConn]bool{}
	s.slots, s.ended = make(chan struct{}, s.MaxConns), make(chan struct{})
	return !s.ending
}

func (s *Server) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// accept serves a connection in a goroutine that ends with it.
func (s *Server) accept(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		_ = conn.Close()
		<-s.slots
		return
	}
	c := newServerConn(s, conn)
	s.conns[c] = false
	s.serving.Add(1)
	go c.serve() // ends with conn; Shutdown waits for it
}

// turn says that a connection begins or ends to answer a request, and whether it may
// go on.
func (s *Server) turn(c *serverConn, busy bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = busy
	return !s.ending
}

func (s *Server) gone(c *serverConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	<-s.slots
	s.serving.Done()
}

// Shutdown stops to listen, closes connections on which nothing is asked, and waits
// for the others to be answered. When ctx ends first these are closed too; then it is
// an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(false)
	answered := make(chan struct{})
	go func() { // ends with the last connection
		s.serving.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		s.Close()
		return context.Cause(ctx)
	}
}

// Close closes the listener and all connections.
func (s *Server) Close() { s.stop(true) }

func (s *Server) stop(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
		if !s.ending {
			close(s.ended)
		}
	}
	s.ending = true
	for c, busy := range s.conns {
		if all || !busy {
			_ = c.conn.Close()
		}
	}
}
