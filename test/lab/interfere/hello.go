package interfere

import (
	"bytes"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// finding is what the bytes seen so far say.
type finding int

const (
	more    finding = iota // the bytes end too early to tell
	nothing                // they are not of the kind looked for, or name another
	found
)

// reader cuts a message into fields; once short, it stays so.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n > len(r.b) {
		r.short = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// number reads a number of n bytes.
func (r *reader) number(n int) int {
	out := 0
	for _, c := range r.take(n) {
		out = out<<8 | int(c)
	}
	return out
}

// vector reads a length of n bytes and so many bytes.
func (r *reader) vector(n int) []byte { return r.take(r.number(n)) }

// maxHello bounds the bytes that the provider keeps of a connection.
const maxHello = 16 << 10

// serverName finds the server name in a TLS stream's first records; more while
// the ClientHello is not whole and the name not yet seen.
func serverName(stream []byte) (string, finding) {
	var handshake []byte
	r := &reader{b: stream}
	for len(r.b) > 0 {
		if r.b[0] != 22 { // handshake
			return "", nothing
		}
		r.take(1)
		if version := r.take(2); version != nil && version[0] != 3 {
			return "", nothing
		}
		length := r.number(2)
		if r.short {
			break
		}
		part := r.b[:min(length, len(r.b))]
		r.take(length)
		handshake = append(handshake, part...)
		if name, f := helloName(handshake); f != more {
			return name, f
		}
		if r.short {
			break
		}
	}
	return "", more
}

// helloName finds the server name in a ClientHello (RFC 8446 section 4.1.2, RFC
// 6066 section 3) that may end early.
func helloName(b []byte) (string, finding) {
	r := &reader{b: b}
	if len(b) > 0 && b[0] != 1 {
		return "", nothing
	}
	r.take(1 + 3 + 2 + 32) // type, length, version, random
	r.vector(1)            // session
	r.vector(2)            // cipher suites
	r.vector(1)            // compression
	total := r.number(2)
	if r.short {
		return "", more
	}
	whole := total <= len(r.b)
	for extensions := (&reader{b: r.b[:min(total, len(r.b))]}); len(extensions.b) > 0; {
		kind, body := extensions.number(2), extensions.vector(2)
		if extensions.short {
			break
		}
		if kind != 0 {
			continue
		}
		list := &reader{b: body}
		list.take(2 + 1) // length, type host_name
		return strings.ToLower(string(list.vector(2))), found
	}
	if whole {
		return "", nothing
	}
	return "", more
}

// hostOf finds the Host of a plain HTTP/1 request.
func hostOf(stream []byte) (string, finding) {
	line, rest, whole := bytes.Cut(stream, []byte("\r\n"))
	if !whole {
		if len(stream) < 8 || mayBeHTTP(stream) {
			return "", more
		}
		return "", nothing
	}
	if !mayBeHTTP(line) || !bytes.Contains(line, []byte(" HTTP/1.")) {
		return "", nothing
	}
	return hostIn(rest)
}

// hostIn finds the Host in the lines of a request's head after the first.
func hostIn(head []byte) (string, finding) {
	for {
		line, rest, whole := bytes.Cut(head, []byte("\r\n"))
		if !whole {
			return "", more
		}
		if len(line) == 0 {
			return "", nothing
		}
		if key, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(key, "host") {
			host, _, _ := strings.Cut(strings.TrimSpace(value), ":")
			return strings.ToLower(host), found
		}
		head = rest
	}
}

func mayBeHTTP(line []byte) bool {
	for _, method := range []string{"GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT "} {
		if bytes.HasPrefix(line, []byte(method)) {
			return true
		}
	}
	return false
}

// question reads the first question of a DNS query.
func question(message []byte) (dnsmessage.Header, dnsmessage.Question, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || h.Response {
		return h, dnsmessage.Question{}, false
	}
	q, err := p.Question()
	return h, q, err == nil
}

// queriedName looks for a query that f applies to in a DNS stream (two bytes of
// length before each).
func queriedName(f *forgery, server netip.Addr, stream []byte) finding {
	r := &reader{b: stream}
	for len(r.b) > 0 {
		message := r.vector(2)
		if r.short {
			return more
		}
		_, q, ok := question(message)
		if !ok {
			return nothing
		}
		if f.applies(server, q) {
			return found
		}
	}
	return more
}
