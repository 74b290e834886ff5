package dns

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	peer "github.com/miekg/dns"
)

// running is a server whose end the test decides.
type running struct {
	*Server
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, r *Resolver, sockets []*os.File) *running {
	t.Helper()
	s := listen(t, r, sockets)
	s.serve()
	return s
}

func listen(t *testing.T, r *Resolver, sockets []*os.File) *running {
	t.Helper()
	s, err := Listen(t.Context(), ServerOptions{
		Resolver: r, Decide: decide, Learn: func(Lesson) error { return nil }, Sockets: sockets,
	})
	must(t, err)
	return &running{Server: s, ended: make(chan error, 1)}
}

func (s *running) serve() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- s.Serve(ctx) }()
}

func (s *running) end(t *testing.T) {
	t.Helper()
	s.stop()
	must(t, <-s.ended)
}

// lookLater asks in a goroutine of its own; what comes of it is given by the channel.
func lookLater(network, name string) <-chan error {
	out := make(chan error, 1)
	go func() {
		c := &peer.Client{Net: network, Timeout: 20 * time.Second, UDPSize: 4096}
		m, _, err := c.Exchange(question(name, peer.TypeA), serverAddress)
		if err == nil && (m.Rcode != peer.RcodeSuccess || len(m.Answer) != 1) {
			err = &peer.Error{}
		}
		out <- err
	}()
	return out
}

// A lookup that is under way when the server is handed over is answered by it; one
// that comes while there is none waits for the next.
func TestLookupsWaitWhileTheServerIsHandedOver(t *testing.T) {
	var mu sync.Mutex // held: the upstream does not answer
	p := newPeer(t, "127.0.0.91:53", func(q *peer.Msg) *peer.Msg {
		mu.Lock()
		defer mu.Unlock()
		return answerOf(t, q, q.Question[0].Name+" 60 A 198.51.100.1")
	})
	r := newResolver(t, nil, nil, "udp://127.0.0.91")
	first := run(t, r, nil)
	mu.Lock()
	underWay := []<-chan error{lookLater("udp", "a.test."), lookLater("tcp", "b.test.")}
	poll(t, "the upstream is asked", func() bool { return p.asked() >= len(underWay) })
	var sockets []*os.File
	handed := make(chan error, 1)
	go func() {
		var err error
		sockets, err = first.HandOver(t.Context())
		handed <- err
	}()
	poll(t, "nothing more is read", first.ending.Load)
	mu.Unlock()
	for _, answered := range underWay {
		if err := <-answered; err != nil {
			t.Errorf("a lookup that was under way: %v", err)
		}
	}
	must(t, <-handed)
	first.end(t)

	before := p.asked()
	var waiting []<-chan error
	for range 10 { // fewer connections than one client may have
		waiting = append(waiting, lookLater("udp", "c.test."), lookLater("tcp", "d.test."))
	}
	second := listen(t, newResolver(t, nil, nil, "udp://127.0.0.91"), sockets)
	for _, w := range waiting {
		select {
		case err := <-w:
			t.Fatalf("a lookup does not wait: %v", err)
		default:
		}
	}
	second.serve()
	defer second.end(t)
	for _, w := range waiting {
		if err := <-w; err != nil {
			t.Errorf("a lookup that waited: %v", err)
		}
	}
	if p.asked() == before {
		t.Error("nobody asked while the server was handed over")
	}
}

// Where lookups do not end the server is handed over without them, in time.
func TestHandOverDoesNotWaitForEver(t *testing.T) {
	newPeer(t, "127.0.0.92:53", func(*peer.Msg) *peer.Msg { return nil })
	s := run(t, newResolver(t, nil, nil, "udp://127.0.0.92"), nil)
	defer s.end(t)
	_ = lookLater("udp", "a.test.")
	_ = lookLater("tcp", "a.test.")
	poll(t, "a connection is served", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) > 0
	})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	sockets, err := s.HandOver(ctx)
	must(t, err)
	const families, protocols = 2, 2
	if len(sockets) != families*protocols {
		t.Errorf("%d sockets are handed over", len(sockets))
	}
	closeFiles(sockets)
}

// Files that are no sockets of the resolver's are closed, and its own are opened.
func TestListenTakesOnlySocketsOfItsPort(t *testing.T) {
	needIsolation(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	other, err := Listen(t.Context(), ServerOptions{Port: 5398})
	must(t, err)
	files, err := other.files()
	must(t, err)
	other.closeSockets()
	s := run(t, newResolver(t, nil, nil, "udp://127.0.0.93"), append(files, r))
	defer s.end(t)
	if m := exchange(t, "udp", question("blocked.test.", peer.TypeA)); m.Rcode != peer.RcodeNameError {
		t.Errorf("got %v", m)
	}
	if _, err := w.Write([]byte{0}); err == nil {
		t.Error("what is no socket stays open")
	}
	again, err := Listen(t.Context(), ServerOptions{Port: 5398})
	if err != nil {
		t.Fatalf("sockets of another port stay open: %v", err)
	}
	again.closeSockets()
}
