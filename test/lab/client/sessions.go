package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// StratumResult is what came of a mining session.
type StratumResult struct {
	Address    string  `json:"address"`
	Subscribed bool    `json:"subscribed"`
	Authorized bool    `json:"authorized"`
	Jobs       int     `json:"jobs"`
	Accepted   int     `json:"accepted"` // shares: one a job
	Seconds    float64 `json:"seconds"`
	LongestGap float64 `json:"longest_gap_s"` // between two messages of the server
	Error      string  `json:"error"`         // "" when the session lasted
}

// message is any message of a Stratum server.
type message struct {
	ID     *int            `json:"id"`
	Method string          `json:"method"`
	Params []any           `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  any             `json:"error"`
}

// The ids of a session's requests; shares count on from the last.
const (
	subscribeID = iota + 1
	authorizeID
	firstShareID
)

// Stratum mines at host:port, over TLS if secure, for so long, submitting a
// share for each job, and says how it went. Only wrong arguments and failed
// lookups are errors; what happens to the connection stands in the result.
func Stratum(ctx context.Context, o Options, target string, secure bool, lasting time.Duration) (StratumResult, error) {
	name, port, err := hostPort(target)
	if err != nil {
		return StratumResult{}, err
	}
	trust, server, err := o.prepare()
	if err != nil {
		return StratumResult{}, err
	}
	a, err := resolve(ctx, server, name, o.Family)
	if err != nil {
		return StratumResult{}, err
	}
	begin := time.Now()
	r := StratumResult{Address: a.String()}
	ctx, stop := context.WithTimeout(ctx, lasting)
	defer stop()
	trust.ServerName = name
	if err := r.session(ctx, netip.AddrPortFrom(a, port), trust, secure); err != nil {
		r.Error = err.Error()
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// resolve looks a name up unless it is an address.
func resolve(ctx context.Context, server, name string, family int) (netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a, nil
	}
	addresses, err := Lookup(ctx, server, name, family)
	if err != nil {
		return netip.Addr{}, err
	}
	return addresses[0], nil
}

// session runs until ctx ends (nil) or the connection does.
func (r *StratumResult) session(ctx context.Context, to netip.AddrPort, trust *tls.Config, secure bool) error {
	c, err := (&net.Dialer{Timeout: requestWait}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(deadline(ctx, 24*time.Hour))
	raw := c
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now()) })() // a signal ends it too
	if secure {
		s := tls.Client(c, trust)
		if err := s.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("shake hands: %w", err)
		}
		c = s
	}
	err = r.mine(c)
	var late net.Error
	if ctx.Err() != nil || errors.As(err, &late) && late.Timeout() {
		return nil
	}
	return err
}

// mine talks to the server until the connection fails.
func (r *StratumResult) mine(c net.Conn) error {
	if err := request(c, subscribeID, "mining.subscribe", "cgminer/4.11.1"); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	last := time.Now()
	for {
		line, err := in.ReadBytes('\n')
		r.LongestGap = max(r.LongestGap, time.Since(last).Seconds())
		last = time.Now()
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if err := r.handle(c, line); err != nil {
			return err
		}
	}
}

// handle answers one message of the server as a miner does.
func (r *StratumResult) handle(c io.Writer, line []byte) error {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("parse message: %w", err)
	}
	switch {
	case m.Method == "mining.notify" && len(m.Params) > 0:
		r.Jobs++
		return request(c, firstShareID+r.Jobs, "mining.submit", "worker.1", m.Params[0], "00000001", "5f5e1000", "1a2b3c4d")
	case m.ID == nil:
		return nil // another notification
	case m.Error != nil:
		return fmt.Errorf("server refuses request %d: %v", *m.ID, m.Error)
	case *m.ID == subscribeID:
		r.Subscribed = true
		return request(c, authorizeID, "mining.authorize", "worker.1", "x")
	case *m.ID == authorizeID:
		r.Authorized = bytes.Equal(m.Result, []byte("true"))
	default:
		r.Accepted++
	}
	return nil
}

func request(w io.Writer, id int, method string, params ...any) error {
	raw, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if _, err := w.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// FetchResult is what came of a download.
type FetchResult struct {
	Status  string  `json:"status"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Address string  `json:"address"`
	Error   string  `json:"error"`
}

// Fetch downloads a URL to the end, or to limit bytes if that is not 0, over
// one family, and writes what it reads to w.
func Fetch(ctx context.Context, o Options, url string, limit int64, w io.Writer) (FetchResult, error) {
	trust, server, err := o.prepare()
	if err != nil {
		return FetchResult{}, err
	}
	var r FetchResult
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: trust, ForceAttemptHTTP2: true, TLSHandshakeTimeout: requestWait,
		DialContext: func(ctx context.Context, _, target string) (net.Conn, error) {
			name, port, err := hostPort(target)
			if err != nil {
				return nil, err
			}
			a, err := resolve(ctx, server, name, o.Family)
			if err != nil {
				return nil, err
			}
			r.Address = a.String()
			return (&net.Dialer{Timeout: requestWait}).DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return FetchResult{}, fmt.Errorf("fetch %s: %w", url, err)
	}
	begin := time.Now()
	if err := r.download(client, request, limit, w); err != nil {
		r.Error = err.Error()
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

func (r *FetchResult) download(client *http.Client, request *http.Request, limit int64, w io.Writer) error {
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer answer.Body.Close()
	r.Status = answer.Status
	body := io.Reader(answer.Body)
	if limit > 0 {
		body = io.LimitReader(body, limit)
	}
	if r.Bytes, err = io.Copy(w, body); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New("server answers " + answer.Status)
	}
	return nil
}

// EchoResult is what came of a UDP flow.
type EchoResult struct {
	Address  string `json:"address"`
	Sent     int    `json:"sent"`
	Received int    `json:"received"`
	Error    string `json:"error"`
}

// echoWait is how long a datagram may be under way.
const echoWait = time.Second

// Echo sends datagrams of so many bytes from one socket to host:port, one after
// the other is answered or lost.
func Echo(ctx context.Context, o Options, target string, count, size int) (EchoResult, error) {
	name, port, err := hostPort(target)
	if err != nil {
		return EchoResult{}, err
	}
	_, server, err := o.prepare()
	if err != nil {
		return EchoResult{}, err
	}
	a, err := resolve(ctx, server, name, o.Family)
	if err != nil {
		return EchoResult{}, err
	}
	r := EchoResult{Address: a.String()}
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(a, port).String())
	if err != nil {
		return r, fmt.Errorf("open socket: %w", err)
	}
	defer c.Close()
	data, answer := make([]byte, max(size, 8)), make([]byte, 64<<10)
	for i := 0; i < count && ctx.Err() == nil; i++ {
		copy(data, strconv.Itoa(i)+" ")
		if err := r.exchange(c, data, answer); err != nil {
			r.Error = err.Error()
		}
	}
	return r, nil
}

// exchange sends one datagram; a late or lost answer is counted, not an error.
func (r *EchoResult) exchange(c net.Conn, data, answer []byte) error {
	_ = c.SetDeadline(time.Now().Add(echoWait))
	if _, err := c.Write(data); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	r.Sent++
	for {
		n, err := c.Read(answer)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if bytes.Equal(answer[:n], data) {
			r.Received++
			return nil
		}
	}
}
