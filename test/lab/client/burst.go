package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// requestWait bounds each step of a connection.
const requestWait = 10 * time.Second

// Options say how to connect.
type Options struct {
	Server   string // DNS, address:port; "" is that of /etc/resolv.conf
	Family   int    // 4 or 6
	Port     uint16 // 0: 443; 80 is plain HTTP, all others are TLS
	Insecure bool   // do not check certificates
	CA       string // file of authorities; "": the system's
}

// Result is what came of one name.
type Result struct {
	Name      string `json:"name"`
	Address   string `json:"address"` // that was connected to
	OK        bool   `json:"ok"`
	Error     string `json:"error"`
	LookupUS  int64  `json:"lookup_us"`
	ConnectUS int64  `json:"connect_us"` // TCP handshake
	// Seen is the client's address as the server sees it: the lab's servers
	// say so, and it tells which way the connection went.
	Seen string `json:"seen"`
}

// Burst looks up every name and connects to its first address at once, so many
// at a time, and writes one Result a line as JSON. It gives back how many
// failed.
func Burst(ctx context.Context, o Options, names []string, concurrency int, w io.Writer) (failed int, err error) {
	trust, server, err := o.prepare()
	if err != nil {
		return 0, err
	}
	o.Server = server
	jobs := make(chan string)
	results := make(chan Result)
	var workers sync.WaitGroup
	for range max(1, concurrency) {
		workers.Go(func() {
			for name := range jobs {
				results <- o.visit(ctx, trust, name)
			}
		})
	}
	go func() {
		for _, name := range names {
			jobs <- name
		}
		close(jobs)
		workers.Wait()
		close(results)
	}()
	out := json.NewEncoder(w)
	for r := range results {
		if !r.OK {
			failed++
		}
		if e := out.Encode(r); e != nil && err == nil {
			err = fmt.Errorf("write result: %w", e)
		}
	}
	return failed, err
}

// prepare reads what all connections of a burst share.
func (o Options) prepare() (*tls.Config, string, error) {
	trust := &tls.Config{InsecureSkipVerify: o.Insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // asked for by option
	if o.CA != "" {
		raw, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, "", fmt.Errorf("read authorities: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(raw) {
			return nil, "", fmt.Errorf("read authorities: %s holds no certificate", o.CA)
		}
	}
	if o.Server != "" {
		return trust, o.Server, nil
	}
	server, err := SystemServer()
	return trust, server, err
}

// visit does one name.
func (o Options) visit(ctx context.Context, trust *tls.Config, name string) Result {
	r := Result{Name: name}
	begin := time.Now()
	addresses, err := Lookup(ctx, o.Server, name, o.Family)
	r.LookupUS = time.Since(begin).Microseconds()
	if err == nil {
		r.Address = addresses[0].String()
		r.Seen, r.ConnectUS, err = o.get(ctx, trust, name, addresses[0])
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.OK = err == nil
	return r
}

// get connects, shakes hands and asks for the page; it gives back the client's
// address as the server names it.
func (o Options) get(ctx context.Context, trust *tls.Config, name string, a netip.Addr) (seen string, connect int64, err error) {
	port := o.Port
	if port == 0 {
		port = 443
	}
	begin := time.Now()
	c, err := (&net.Dialer{Timeout: requestWait}).DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
	connect = time.Since(begin).Microseconds()
	if err != nil {
		return "", connect, fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(deadline(ctx, requestWait))
	if port != 80 {
		settings := trust.Clone()
		settings.ServerName = name
		secure := tls.Client(c, settings)
		if err := secure.HandshakeContext(ctx); err != nil {
			return "", connect, fmt.Errorf("shake hands: %w", err)
		}
		c = secure
	}
	seen, err = ask(c, name)
	return seen, connect, err
}

// ask makes one HTTP request and reads the line "client ADDRESS" of the answer.
func ask(c net.Conn, name string) (string, error) {
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: close\r\n\r\n", name); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read page: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("server answers %s", answer.Status)
	}
	for line := range strings.Lines(string(body)) {
		if seen, ok := strings.CutPrefix(line, "client "); ok {
			return strings.TrimSpace(seen), nil
		}
	}
	return "", nil
}

// ReadNames reads one name a line from a file, or from in when the file is "-".
func ReadNames(file string, in io.Reader) ([]string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read names: %w", err)
		}
		defer f.Close()
		in = f
	}
	var out []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			out = append(out, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return out, nil
}

// hostPort splits host:port with a message that says what is wrong.
func hostPort(s string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no host:port: %w", s, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no host:port: %w", s, err)
	}
	return host, uint16(port), nil
}
