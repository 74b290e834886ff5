package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// serveStub answers every question over UDP and TCP with what reply gives; over
// UDP, all of it, one after the other.
func serveStub(t *testing.T, reply func(udp bool, q *peer.Msg) []*peer.Msg) netip.AddrPort {
	t.Helper()
	pc, l := bothOnOnePort(t)
	handle := func(w peer.ResponseWriter, q *peer.Msg) {
		_, udp := w.RemoteAddr().(*net.UDPAddr)
		for _, m := range reply(udp, q) {
			_ = w.WriteMsg(m)
		}
	}
	for _, s := range []*peer.Server{
		{PacketConn: pc, Handler: peer.HandlerFunc(handle)},
		{Listener: l, Handler: peer.HandlerFunc(handle)},
	} {
		go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// bothOnOnePort opens UDP and TCP on one port of 127.0.0.1. A port that is free
// for UDP may be taken for TCP, by the end of another test's connection too.
func bothOnOnePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		pc.Close()
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func answerWith(q *peer.Msg, address string) *peer.Msg {
	m := new(peer.Msg).SetReply(q)
	rr, _ := peer.NewRR(q.Question[0].Name + " 60 A " + address)
	m.Answer = []peer.RR{rr}
	return m
}

func askAsClient(t *testing.T, server netip.AddrPort) ([]Answer, error) {
	t.Helper()
	r := newResolver(t, nil, nil, "udp://127.0.0.1")
	return r.AskAsClient(context.Background(), server, 1, "www.example", dnsmessage.TypeA)
}

func TestClientTakesTheFirstAnswerAndTellsOfOthers(t *testing.T) {
	server := serveStub(t, func(_ bool, q *peer.Msg) []*peer.Msg {
		other := answerWith(q, "192.0.2.9")
		other.Id++
		return []*peer.Msg{other, answerWith(q, "192.0.2.66"), answerWith(q, "192.0.2.1")}
	})
	got, err := askAsClient(t, server)
	must(t, err)
	if len(got) != 2 || got[0].Addrs[0].String() != "192.0.2.66" || got[1].Addrs[0].String() != "192.0.2.1" {
		t.Errorf("got %v", got)
	}
}

// A resolver that has to fetch the true answer first is slower than who injects one.
func TestClientTellsOfAnAnswerThatComesLater(t *testing.T) {
	const later = 350 * time.Millisecond
	pc, l := bothOnOnePort(t)
	_ = l.Close()
	s := &peer.Server{PacketConn: pc, Handler: peer.HandlerFunc(func(w peer.ResponseWriter, q *peer.Msg) {
		_ = w.WriteMsg(answerWith(q, "192.0.2.66"))
		<-time.After(later)
		_ = w.WriteMsg(answerWith(q, "192.0.2.1"))
	})}
	go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
	t.Cleanup(func() { _ = s.Shutdown() })
	got, err := askAsClient(t, netip.MustParseAddrPort(pc.LocalAddr().String()))
	must(t, err)
	if len(got) != 2 || got[0].Addrs[0].String() != "192.0.2.66" || got[1].Addrs[0].String() != "192.0.2.1" {
		t.Errorf("got %v", got)
	}
}

func TestClientAsksAgainAndOverTCP(t *testing.T) {
	var asked atomic.Bool // the server answers each question in a goroutine of its own
	server := serveStub(t, func(udp bool, q *peer.Msg) []*peer.Msg {
		m := answerWith(q, "192.0.2.1")
		switch {
		case !udp:
			return []*peer.Msg{m}
		case !asked.Swap(true):
			return nil
		}
		m.Truncated, m.Answer = true, nil
		return []*peer.Msg{m}
	})
	got, err := askAsClient(t, server)
	must(t, err)
	if len(got) != 1 || got[0].Addrs[0].String() != "192.0.2.1" {
		t.Errorf("got %v", got)
	}
}

func TestClientIsToldWhyThereIsNoAnswer(t *testing.T) {
	silent := serveStub(t, func(bool, *peer.Msg) []*peer.Msg { return nil })
	for name, c := range map[string]struct {
		server netip.AddrPort
		path   Path
		layer  string
	}{
		"silence":   {silent, 1, LayerTimeout},
		"no server": {netip.MustParseAddrPort("127.0.0.1:9"), 1, LayerConnect},
		"path down": {silent, 15, LayerPath},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newResolver(t, nil, nil, "udp://127.0.0.1")
			_, err := r.AskAsClient(context.Background(), c.server, c.path, "www.example", dnsmessage.TypeA)
			failed := (*UpstreamError)(nil)
			if !errors.As(err, &failed) || failed.Layer != c.layer {
				t.Errorf("got %v, want layer %s", err, c.layer)
			}
		})
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	server := serveStub(t, func(bool, *peer.Msg) []*peer.Msg { return nil })
	r := newResolver(t, nil, nil, "udp://127.0.0.1")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.AskAsClient(ctx, server, 1, "www.example", dnsmessage.TypeA); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
