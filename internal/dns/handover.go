package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// longAgo is a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// HandOver stops reading and waits until what was read is answered, or ctx ends.
// It gives the sockets for ServerOptions.Sockets of another process: what comes
// from then on waits in them, also when this server has closed its own. Serve must
// have been called, and is to be ended next.
func (s *Server) HandOver(ctx context.Context) ([]*os.File, error) {
	s.ending.Store(true)
	for _, c := range s.udp {
		_ = c.SetReadDeadline(longAgo())
	}
	for _, l := range s.tcp {
		_ = l.SetDeadline(longAgo())
	}
	s.mu.Lock()
	for c := range s.conns {
		c.lastQueries()
	}
	s.mu.Unlock()
	answered := make(chan struct{})
	go func() { // ends with Serve at the latest
		s.readers.Wait()
		s.pool.wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
	}
	return s.files()
}

// files are copies of the sockets.
func (s *Server) files() (out []*os.File, err error) {
	var open []interface{ File() (*os.File, error) }
	for _, c := range s.udp {
		open = append(open, c)
	}
	for _, l := range s.tcp {
		open = append(open, l)
	}
	for _, o := range open {
		f, err := o.File()
		if err != nil {
			closeFiles(out)
			return nil, fmt.Errorf("copy a socket: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// given are sockets that an earlier process has opened, by network. Those that are
// not taken are closed.
type given struct {
	udp map[string]*net.UDPConn
	tcp map[string]*net.TCPListener
}

// givenSockets makes sockets of files, which are closed, for those of a port.
func givenSockets(files []*os.File, port uint16) given {
	g := given{map[string]*net.UDPConn{}, map[string]*net.TCPListener{}}
	for _, f := range files {
		g.add(f, int(port))
		_ = f.Close() // the socket is another copy
	}
	return g
}

func (g given) add(f *os.File, port int) {
	if c, err := net.FilePacketConn(f); err == nil {
		udp, isUDP := c.(*net.UDPConn)
		if isUDP && udp.LocalAddr().(*net.UDPAddr).Port == port {
			g.udp["udp"+family(udp.LocalAddr().(*net.UDPAddr).IP)] = udp
			return
		}
		_ = c.Close()
		return
	}
	if l, err := net.FileListener(f); err == nil {
		tcp, isTCP := l.(*net.TCPListener)
		if isTCP && tcp.Addr().(*net.TCPAddr).Port == port {
			g.tcp["tcp"+family(tcp.Addr().(*net.TCPAddr).IP)] = tcp
			return
		}
		_ = l.Close()
	}
}

func family(ip net.IP) string {
	if ip.To4() != nil {
		return "4"
	}
	return "6"
}

func (g given) close() {
	for _, c := range g.udp {
		_ = c.Close()
	}
	for _, l := range g.tcp {
		_ = l.Close()
	}
}
