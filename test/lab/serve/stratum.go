package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/lab/authority"
	"github.com/routerd/routerd/test/lab/interfere"
)

// StratumOptions say where and how a Stratum server serves.
type StratumOptions struct {
	// Listen holds address:port; every listener shares its port with servers
	// of less specific addresses (SO_REUSEPORT).
	Listen []string
	// Certificates is a directory of NAME.crt and key.pem for TLS.
	Certificates string
	// Authority, if not nil, makes the certificates instead.
	Authority *authority.Authority
	// Statuses is a directory of files STATUS/HOST for an HTTP status to answer
	// with and reject/ADDRESS for a server that refuses miners; "" is none.
	Statuses string
	// JobEvery is the time between two mining.notify; 0 is a second.
	JobEvery time.Duration
}

// firstBytes bounds the wait for a client's first line; later it may be silent
// for as long as it likes, as miners are.
const firstBytes = time.Minute

// maxLine bounds a client's message, in bytes.
const maxLine = 16 << 10

// Stratum serves Stratum V1 until ctx ends: plain or TLS, whichever a client
// begins with, on every port. Any worker is authorised and any share accepted.
// An HTTP request is answered like net's web servers do, because some pools
// share their host name with a web page.
func Stratum(ctx context.Context, o StratumOptions) error {
	if o.JobEvery == 0 {
		o.JobEvery = time.Second
	}
	s := &stratumServer{o: o, certificates: map[string]*tls.Certificate{}}
	listen := net.ListenConfig{Control: reusePort}
	for _, address := range o.Listen {
		l, err := listen.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen for Stratum: %w", err)
		}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		go s.serve(ctx, l)
	}
	<-ctx.Done()
	return nil
}

// reusePort lets this server and nginx listen on one port of different
// addresses.
func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return fmt.Errorf("reach socket: %w", e)
	}
	if err != nil {
		return fmt.Errorf("set SO_REUSEPORT: %w", err)
	}
	return nil
}

type stratumServer struct {
	o        StratumOptions
	sessions atomic.Uint32

	mu           sync.Mutex // guards certificates
	certificates map[string]*tls.Certificate
}

func (s *stratumServer) serve(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go func() {
			defer c.Close()
			_ = s.handle(ctx, c) // a client that goes is no fault of ours
		}()
	}
}

// handle tells TLS from plain by the first byte and HTTP from Stratum by the
// first line.
func (s *stratumServer) handle(ctx context.Context, c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(firstBytes))
	in := bufio.NewReaderSize(c, maxLine)
	first, err := in.Peek(1)
	if err != nil {
		return fmt.Errorf("read first byte: %w", err)
	}
	conn := net.Conn(&peeked{Conn: c, in: in})
	if first[0] == 0x16 { // TLS handshake record
		conn = tls.Server(conn, &tls.Config{GetCertificate: s.certificate, MinVersion: tls.VersionTLS12})
		in = bufio.NewReaderSize(conn, maxLine)
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read first line: %w", err)
	}
	if strings.Contains(string(line), " HTTP/1.") {
		return s.answerHTTP(conn, in)
	}
	_ = c.SetReadDeadline(time.Time{})
	session := &stratumSession{conn: conn, id: s.sessions.Add(1), rejects: s.marked("reject", ipOf(c.LocalAddr()).String())}
	return session.run(ctx, in, line, s.o.JobEvery)
}

// peeked is a connection whose first bytes have been read into in.
type peeked struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what was peeked first.
func (p *peeked) Read(b []byte) (int, error) { return p.in.Read(b) } //nolint:wrapcheck // io.Reader

// certificate finds NAME.crt of the name asked for, of the name above it with a
// wildcard, or default.crt.
func (s *stratumServer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.o.Authority != nil {
		return s.o.Authority.Certificate(hello.ServerName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToLower(filepath.Base(hello.ServerName))
	if c := s.certificates[name]; c != nil {
		return c, nil
	}
	_, parent, _ := strings.Cut(name, ".")
	for _, file := range []string{name, "_." + parent, "default"} {
		c, err := tls.LoadX509KeyPair(filepath.Join(s.o.Certificates, file+".crt"), filepath.Join(s.o.Certificates, "key.pem"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		s.certificates[name] = &c
		return &c, nil
	}
	return nil, fmt.Errorf("find certificate of %q: %w", name, os.ErrNotExist)
}

// answerHTTP says what nginx on net says, then closes.
func (s *stratumServer) answerHTTP(conn net.Conn, in *bufio.Reader) error {
	host := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.TrimSpace(line) == "" {
			break
		}
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, "host") {
			host = strings.TrimSpace(value)
		}
	}
	status := http.StatusOK
	for _, code := range interfere.Statuses() {
		if s.marked(strconv.Itoa(code), host) {
			status = code
		}
	}
	body := fmt.Sprintf("host %s\nserver %s\nclient %s\n", host, ipOf(conn.LocalAddr()), ipOf(conn.RemoteAddr()))
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
	if err != nil {
		return fmt.Errorf("answer HTTP: %w", err)
	}
	return nil
}

// marked says whether there is a file of a kind for a name or address.
func (s *stratumServer) marked(kind, name string) bool {
	if s.o.Statuses == "" || name != filepath.Base(name) {
		return false
	}
	_, err := os.Stat(filepath.Join(s.o.Statuses, kind, strings.ToLower(name)))
	return err == nil
}

func ipOf(a net.Addr) netip.Addr {
	p, _ := netip.ParseAddrPort(a.String())
	return p.Addr().Unmap()
}

// stratumSession is one miner's connection.
type stratumSession struct {
	id      uint32
	rejects bool   // it refuses miners
	jobs    uint32 // guarded by mu

	mu   sync.Mutex // guards writing, jobs
	conn io.Writer
}

// stratumRequest is a client's message.
type stratumRequest struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params []any           `json:"params"`
}

// run answers line and every one after it, and sends jobs once the miner is
// authorised.
func (s *stratumSession) run(ctx context.Context, in *bufio.Reader, line []byte, every time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	mining := false
	for {
		var r stratumRequest
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("parse message: %w", err)
		}
		if err := s.answer(r); err != nil {
			return err
		}
		if r.Method == "mining.authorize" && !mining {
			mining = true
			go s.sendJobs(ctx, every)
		}
		var err error
		if line, err = in.ReadSlice('\n'); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
	}
}

// answer replies to one request, as pools do.
func (s *stratumSession) answer(r stratumRequest) error {
	var result any
	if s.rejects {
		return s.send(map[string]any{"id": r.ID, "result": nil, "error": []any{20, "Not allowed in your region", nil}})
	}
	switch r.Method {
	case "mining.subscribe":
		session := fmt.Sprintf("%08x", s.id)
		result = []any{[]any{[]any{"mining.set_difficulty", session}, []any{"mining.notify", session}}, session, 8}
	case "mining.configure":
		result = map[string]any{"version-rolling": true, "version-rolling.mask": "1fffe000"}
	case "mining.authorize", "mining.submit", "mining.extranonce.subscribe", "mining.suggest_difficulty":
		result = true
	default:
		return s.send(map[string]any{"id": r.ID, "result": nil, "error": []any{20, "Unsupported method", nil}})
	}
	if err := s.send(map[string]any{"id": r.ID, "result": result, "error": nil}); err != nil {
		return err
	}
	if r.Method == "mining.authorize" {
		return s.send(map[string]any{"id": nil, "method": "mining.set_difficulty", "params": []any{1024}})
	}
	return nil
}

// sendJobs sends a job at once and then every so often.
func (s *stratumSession) sendJobs(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.sendJob(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sendJob sends a mining.notify that looks like one of a Bitcoin pool.
func (s *stratumSession) sendJob() error {
	s.mu.Lock()
	s.jobs++
	job := s.jobs
	s.mu.Unlock()
	return s.send(map[string]any{"id": nil, "method": "mining.notify", "params": []any{
		fmt.Sprintf("%x", job),
		fmt.Sprintf("%064x", uint64(s.id)<<32|uint64(job)),
		"01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff20020862062f503253482f04b8864e5008",
		"072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a64a7a9688ef9903327048ed988ac00000000",
		[]any{},
		"20000000", "1702ae05", fmt.Sprintf("%08x", time.Now().Unix()), job == 1,
	}})
}

func (s *stratumSession) send(message any) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.conn.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}
