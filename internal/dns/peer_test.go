package dns

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/miekg/dns"
)

// peerServer is a server of another make with answers made to measure, over UDP
// and TCP.
type peerServer struct {
	count atomic.Int64
	stop  func()
}

func (p *peerServer) asked() int { return int(p.count.Load()) }

// newPeer starts one; answer gives nil for silence.
func newPeer(t testing.TB, address string, answer func(*peer.Msg) *peer.Msg) *peerServer {
	t.Helper()
	needIsolation(t)
	p := &peerServer{}
	handler := peer.HandlerFunc(func(w peer.ResponseWriter, q *peer.Msg) {
		p.count.Add(1)
		m := answer(q)
		if m == nil {
			return
		}
		if size := q.IsEdns0(); size != nil && w.LocalAddr().Network() == "udp" {
			m.Truncate(int(size.UDPSize()))
		}
		_ = w.WriteMsg(m)
	})
	packets, err := net.ListenPacket("udp", address)
	must(t, err)
	stream, err := net.Listen("tcp", address)
	must(t, err)
	var ended sync.WaitGroup
	servers := []*peer.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	stopped := false
	p.stop = func() {
		if !stopped {
			stopped = true
			_, _ = servers[0].Shutdown(), servers[1].Shutdown()
			ended.Wait() // the sockets are closed by then
		}
	}
	t.Cleanup(p.stop)
	return p
}

// answerOf is an answer with records given as text.
func answerOf(t testing.TB, q *peer.Msg, records ...string) *peer.Msg {
	m := new(peer.Msg).SetReply(q)
	m.RecursionAvailable, m.Compress = true, true
	for _, text := range records {
		rr, err := peer.NewRR(text)
		if err != nil {
			t.Errorf("record %q: %v", text, err)
			continue
		}
		m.Answer = append(m.Answer, rr)
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	return m
}

// exchange asks our server.
func exchange(t testing.TB, network string, q *peer.Msg) *peer.Msg {
	t.Helper()
	c := &peer.Client{Net: network, Timeout: 5 * time.Second, UDPSize: 4096}
	m, _, err := c.Exchange(q, serverAddress)
	must(t, err)
	return m
}

func texts(records []peer.RR) []string {
	var out []string
	for _, rr := range records {
		out = append(out, rr.String())
	}
	return out
}
