package interfere

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/quic"
)

// helloOf is the first record that a client of Go's sends.
func helloOf(t testing.TB, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: name}).Handshake() // it fails: nobody answers
		_ = near.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// inRecords cuts a record into several of so many bytes.
func inRecords(record []byte, size int) []byte {
	var out []byte
	for part := range slices.Chunk(record[5:], size) {
		out = append(out, record[:3]...)
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(part))), part...)
	}
	return out
}

func TestServerNameIsFoundHoweverTheHelloIsCut(t *testing.T) {
	hello := helloOf(t, "www.OKX.com")
	for _, stream := range [][]byte{hello, inRecords(hello, 1), inRecords(hello, 100), append(bytes.Clone(hello), "more"...)} {
		if name, f := serverName(stream); f != found || name != "www.okx.com" {
			t.Errorf("%q, %v", name, f)
		}
		last := more
		for n := range stream {
			name, f := serverName(stream[:n])
			if f == nothing || f < last || f == found && name != "www.okx.com" {
				t.Fatalf("%d bytes: %q, %v after %v", n, name, f, last)
			}
			last = f
		}
	}
}

func TestWhatIsNoHelloIsKnownAtOnce(t *testing.T) {
	if _, f := serverName(helloOf(t, "127.0.0.1")); f != nothing { // an address is no server name
		t.Errorf("a hello without a name: %v", f)
	}
	for _, s := range []string{"GET / HTTP/1.1\r\n", "\x17\x03\x03\x00\x10", "\x16\x02\x00", "\x16\x03\x01\x00\x01\x02"} {
		if _, f := serverName([]byte(s)); f != nothing {
			t.Errorf("%q: %v", s, f)
		}
	}
}

func TestHostIsFoundInRequests(t *testing.T) {
	for stream, want := range map[string]struct {
		host string
		is   finding
	}{
		"GET / HTTP/1.1\r\nAccept: */*\r\nHOST:  Www.okx.com:80 \r\n": {"www.okx.com", found},
		"POST /x HTTP/1.0\r\nHost: a\r\n\r\n":                         {"a", found},
		"GET / HTTP/1.1\r\nHost: www.okx":                             {"", more},
		"GET /":                                                       {"", more},
		"GE":                                                          {"", more},
		"GET / HTTP/1.1\r\n\r\n":                                      {"", nothing},
		`{"id":1,"method":"mining.subscribe"}` + "\n":                 {"", nothing},
		"GET / FTP\r\nHost: a\r\n":                                    {"", nothing},
	} {
		if host, is := hostOf([]byte(stream)); host != want.host || is != want.is {
			t.Errorf("%q: %q, %v", stream, host, is)
		}
	}
}

// queryOf is a DNS query.
func queryOf(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// forged is what f answers to a query.
func forged(t *testing.T, f *forgery, query []byte) dnsmessage.Message {
	t.Helper()
	h, q, ok := question(query)
	if !ok || !f.applies(netip.MustParseAddr("22.8.8.8"), q) {
		t.Fatalf("%q is not touched", query)
	}
	raw, err := f.forge(h, q)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := question(raw); ok {
		t.Error("an answer passes for a query")
	}
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		t.Fatal(err)
	}
	if m.ID != h.ID || !m.Response || len(m.Questions) != 1 || m.Questions[0] != q {
		t.Errorf("%+v does not answer %+v", m, q)
	}
	return m
}

func TestForgedAnswersRepeatTheQuestion(t *testing.T) {
	f := &forgery{x: Interference{Kind: DNSForge, Names: []string{"okx.com"}, Answer: "x"}, answers: []netip.Addr{netip.MustParseAddr("22.1.1.1"), netip.MustParseAddr("2d00::1")}}
	for kind, want := range map[dnsmessage.Type]int{dnsmessage.TypeA: 1, dnsmessage.TypeAAAA: 1, dnsmessage.TypeMX: 0} {
		if m := forged(t, f, queryOf(t, "wWw.okx.COM.", kind)); m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != want {
			t.Errorf("%s: %+v", kind, m)
		}
	}
	f.x.Answer = AnswerNXDomain
	if m := forged(t, f, queryOf(t, "okx.com.", dnsmessage.TypeA)); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("%+v", m)
	}
}

func TestQueriesAreFoundInAStream(t *testing.T) {
	f := &forgery{x: Interference{Kind: DNSDrop, Names: []string{"okx.com"}, Family: 4}}
	server := netip.MustParseAddr("22.8.8.8")
	framed := func(m []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...) }
	other, aaaa := framed(queryOf(t, "a.example.", dnsmessage.TypeA)), framed(queryOf(t, "okx.com.", dnsmessage.TypeAAAA))
	listed := framed(queryOf(t, "www.okx.com.", dnsmessage.TypeA))
	for _, x := range []struct {
		stream []byte
		want   finding
	}{
		{listed, found},
		{slices.Concat(other, aaaa, listed), found},
		{slices.Concat(other, aaaa), more},
		{slices.Concat(other, listed[:20]), more},
		{framed([]byte("nonsense")), nothing},
	} {
		if got := queriedName(f, server, x.stream); got != x.want {
			t.Errorf("%q: %v, want %v", x.stream, got, x.want)
		}
	}
	f.x.Servers = []netip.Addr{netip.MustParseAddr("22.9.9.9")}
	if got := queriedName(f, server, listed); got != more {
		t.Errorf("to another server: %v", got)
	}
}

// initials are the first datagrams of a client of QUIC.
func initials(t testing.TB, name string) [][]byte {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := quic.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer func() { _ = client.Close(ctx) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = client.Dial(ctx, "udp", server.LocalAddr().String(), &quic.Config{TLSConfig: &tls.Config{ServerName: name, MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"}}})
	}()
	defer func() { stop(); <-ended }()
	var out [][]byte
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		b := make([]byte, 2000)
		n, _, err := server.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) || err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		if err != nil {
			return out
		}
		out = append(out, b[:n])
		_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
}

func TestQUICNameIsFoundInAnyOrderOfDatagrams(t *testing.T) {
	all := initials(t, "www.okx.com")
	for _, reverse := range []bool{false, true} {
		if reverse {
			slices.Reverse(all)
		}
		for name, want := range map[string]bool{"okx.com": true, "binance.com": false} {
			i := newQUICInspector(func(n string) bool { return Covers([]string{name}, n) })
			got := false
			for _, b := range all {
				got = i.see(packet{src: ap("192.168.1.10:4000"), dst: ap("22.10.1.1:443"), payload: b})
			}
			if got != want {
				t.Errorf("%s is seen: %v in %d datagrams", name, got, len(all))
			}
		}
	}
}

func TestQUICThatIsNoInitialIsPassed(t *testing.T) {
	i := newQUICInspector(func(string) bool { return true })
	damaged := initials(t, "www.okx.com")[0]
	damaged[len(damaged)-1] ^= 1
	for n, b := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte{0xc0}, 1200), damaged, append([]byte{0xc0, 0, 0, 0, 2}, damaged[5:]...)} {
		if i.see(packet{src: ap("192.168.1.10:1"), dst: ap("22.10.1.1:443"), payload: b}) {
			t.Errorf("datagram %d is cut", n)
		}
	}
}

func FuzzFirstBytes(f *testing.F) {
	f.Add(helloOf(f, "www.okx.com"))
	f.Add(initials(f, "www.okx.com")[0])
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add(append([]byte{0, 29}, queryOf(f, "www.okx.com.", dnsmessage.TypeA)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, is := serverName(b); is != found && name != "" || !strings.Contains(string(bytes.ToLower(b)), name) && len(name) > maxHello {
			t.Error(name)
		}
		hostOf(b)
		queriedName(&forgery{}, netip.Addr{}, b)
		newQUICInspector(func(string) bool { return true }).see(packet{payload: b})
	})
}
