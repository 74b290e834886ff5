package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/miekg/dns"
)

// originals says that all clients asked one server.
func originals(address string) func(*ServerOptions) {
	server := netip.MustParseAddrPort(address)
	return func(o *ServerOptions) {
		o.Original = func(_, _ netip.AddrPort) (netip.AddrPort, bool) { return server, true }
		o.Relay = func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
}

// oddQuery is a query with all that a server might drop or change: case, an
// unknown option, and a class of its own.
func oddQuery(t *testing.T, name string) []byte {
	t.Helper()
	q := question(name, 65300)
	q.SetEdns0(4000, true)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &peer.EDNS0_LOCAL{Code: 65001, Data: []byte("who")})
	raw, err := q.Pack()
	must(t, err)
	return raw
}

// echoServer answers over TCP with what it got, with QR set and a tail: no
// server that reads messages would. It closes after a number of answers.
func echoServer(t *testing.T, address string, answers int) (got chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	got = make(chan []byte, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for range answers {
					msg, err := readMessage(conn)
					if err != nil {
						return
					}
					got <- bytes.Clone(msg)
					msg[2] |= 0x80
					msg = append(msg, "tail"...)
					_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
				}
			}()
		}
	}()
	return got
}

func dialServer(t *testing.T, network string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, serverAddress)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(8*time.Second)))
	return conn
}

func framed(messages ...[]byte) []byte {
	var out []byte
	for _, m := range messages {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
	}
	return out
}

func TestTCPQueriesThatAreNotListedAreRelayedOctetByOctet(t *testing.T) {
	needIsolation(t)
	for name, answers := range map[string]int{"a server that keeps connections": 100, "one that closes after each answer": 1} {
		t.Run(name, func(t *testing.T) {
			got := echoServer(t, "127.0.0.61:53", answers)
			serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), originals("127.0.0.61:53"))
			conn := dialServer(t, "tcp")
			for range 3 {
				query := oddQuery(t, "OtHer.example.")
				answer := askAgain(t, &conn, query)
				if sent := <-got; !bytes.Equal(sent, query) {
					t.Errorf("the server got\n%x\nof\n%x", sent, query)
				}
				query[2] |= 0x80
				if want := append(query, "tail"...); !bytes.Equal(answer, want) {
					t.Errorf("the client got\n%x\nof\n%x", answer, want)
				}
			}
		})
	}
}

// askAgain asks as a client does: once more over a new connection, when the old
// one ends without an answer.
func askAgain(t *testing.T, conn *net.Conn, query []byte) []byte {
	t.Helper()
	for range 2 {
		_, err := (*conn).Write(framed(query))
		must(t, err)
		answer, err := readMessage(*conn)
		if err == nil {
			return answer
		}
		*conn = dialServer(t, "tcp")
	}
	t.Fatal("no answer over a new connection either")
	return nil
}

func TestOneConnectionMixesListedAndOtherNames(t *testing.T) {
	needIsolation(t)
	got := echoServer(t, "127.0.0.61:53", 100)
	newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg { return answerOf(t, q, q.Question[0].Name+" 60 IN A 198.51.100.1") })
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.60"), originals("127.0.0.61:53"))
	conn := dialServer(t, "tcp")
	listed, err := question("www.test.", peer.TypeA).Pack()
	must(t, err)
	other := oddQuery(t, "other.example.")
	update := append([]byte{7, 7, 5 << 3, 0}, make([]byte, 8)...)
	_, err = conn.Write(framed(listed, other, listed, update))
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	counts := map[string]int{}
	for {
		msg, err := readMessage(conn)
		if err == io.EOF {
			break
		}
		must(t, err)
		switch {
		case strings.HasSuffix(string(msg), "tail"):
			counts["relayed"]++
		default:
			counts["own"]++
		}
	}
	if counts["relayed"] != 2 || counts["own"] != 2 || len(got) != 2 {
		t.Errorf("answers %v, relayed queries %d", counts, len(got))
	}
	for range 2 {
		if strings.Contains(string(<-got), "\x03www\x04test") {
			t.Error("a listed name was told to the client's server")
		}
	}
}

func TestConnectionEndsWhenItsServerIsGone(t *testing.T) {
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), originals("127.0.0.62:53"))
	conn := dialServer(t, "tcp")
	_, err := conn.Write(framed(oddQuery(t, "other.example.")))
	must(t, err)
	if msg, err := readMessage(conn); err == nil {
		t.Errorf("got %x", msg)
	}
}

// hurried is a connection whose writer goes on only once the reader is done with it.
type hurried struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (h *hurried) Write(b []byte) (int, error) {
	n, err := h.Conn.Write(b)
	<-h.closed
	return n, err
}

func (h *hurried) Close() error {
	defer h.once.Do(func() { close(h.closed) })
	return h.Conn.Close()
}

func TestConnectionEndsAtOnceHoweverSoonItsServerCloses(t *testing.T) {
	needIsolation(t)
	l, err := net.Listen("tcp", "127.0.0.63:53")
	must(t, err)
	defer l.Close()
	go func() { // ends with l
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = readMessage(conn)
			conn.Close()
		}
	}()
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), func(o *ServerOptions) {
		originals("127.0.0.63:53")(o)
		relay := o.Relay
		o.Relay = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := relay(ctx, network, address)
			return &hurried{Conn: conn, closed: make(chan struct{})}, err
		}
	})
	conn := dialServer(t, "tcp")
	_, err = conn.Write(framed(oddQuery(t, "other.example.")))
	must(t, err)
	if _, err := readMessage(conn); !errors.Is(err, io.EOF) {
		t.Errorf("it was left open: %v", err)
	}
}

func TestUDPQueriesThatAreNotListedAreRelayedOctetByOctet(t *testing.T) {
	needIsolation(t)
	server, err := net.ListenPacket("udp", "127.0.0.61:53")
	must(t, err)
	defer server.Close()
	query := oddQuery(t, "OtHer.example.")
	sent := bytes.Clone(query)
	go func() {
		buf := make([]byte, 4096)
		n, from, err := server.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], sent) {
			return
		}
		forged := bytes.Clone(buf[:n])
		forged[0] ^= 1
		_, _ = server.WriteTo(forged, from)
		buf[2] |= 0x80
		_, _ = server.WriteTo(append(buf[:n], "tail"...), from)
	}()
	var asked atomic.Uint32
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), func(o *ServerOptions) {
		originals("127.0.0.61:53")(o)
		original := o.Original
		o.OriginalUDP = func(client, local netip.AddrPort, id uint16) (netip.AddrPort, bool) {
			asked.Store(uint32(id))
			return original(client, local)
		}
	})
	conn := dialServer(t, "udp")
	_, err = conn.Write(query)
	must(t, err)
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	must(t, err)
	id := binary.BigEndian.Uint16(query)
	query[2] |= 0x80
	if want := append(query, "tail"...); !bytes.Equal(buf[:n], want) || asked.Load() != uint32(id) {
		t.Errorf("the client got\n%x\nof\n%x", buf[:n], want)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), func(o *ServerOptions) { o.ConnsEach = 2 })
	blocked, err := question("blocked.test.", peer.TypeA).Pack()
	must(t, err)
	answered := func(conn net.Conn) bool {
		_, err := conn.Write(framed(blocked))
		if err != nil {
			return false
		}
		_, err = readMessage(conn)
		return err == nil
	}
	first, second := dialServer(t, "tcp"), dialServer(t, "tcp")
	if !answered(first) || !answered(second) {
		t.Fatal("two connections were not served")
	}
	if third, err := net.Dial("tcp", serverAddress); err == nil {
		defer third.Close()
		if answered(third) {
			t.Error("a third connection was served")
		}
	}
	first.Close()
	poll(t, "another one is served when one has ended", func() bool {
		conn, err := net.Dial("tcp", serverAddress)
		if err != nil {
			return false // reset while it was being made
		}
		defer conn.Close()
		return answered(conn)
	})
}

func TestRateIsBoundedForWhatTheCacheDoesNotHold(t *testing.T) {
	p := newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg { return answerOf(t, q, q.Question[0].Name+" 60 IN A 198.51.100.1") })
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.60"), func(o *ServerOptions) { o.Rate, o.Burst = 0.001, 3 })
	for _, network := range []string{"udp", "tcp"} {
		for range 20 {
			if got := exchange(t, network, question("one.test.", peer.TypeA)); got.Rcode != 0 {
				t.Fatalf("%s: a cached answer was refused", network)
			}
		}
	}
	exchange(t, "udp", question("two.test.", peer.TypeA))
	exchange(t, "tcp", question("three.test.", peer.TypeA))
	for _, network := range []string{"udp", "tcp"} {
		if got := exchange(t, network, question("four.test.", peer.TypeA)); got.Rcode != peer.RcodeRefused || p.asked() != 3 {
			t.Errorf("%s: got %v after %d questions", network, got, p.asked())
		}
	}
}
