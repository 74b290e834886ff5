package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// restart has the daemon end for another, and gives the sockets that it hands on.
func (r *router) restart() []*os.File {
	r.Helper()
	need(r.T, r.client().Restart(context.Background()))
	err := <-r.done
	r.stop = nil
	var next *Restart
	if !errors.As(err, &next) {
		r.Fatalf("the daemon ended with: %v", err)
	}
	return next.Sockets
}

// query sends the resolver one for a name of policy block, which it answers by
// itself; answered waits for that.
func query(t *testing.T) (answered func() bool) {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("blocked.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	raw, err := m.Pack()
	need(t, err)
	c, err := net.Dial("udp", "127.0.0.1:5399")
	need(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write(raw)
	need(t, err)
	return func() bool {
		need(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		raw := make([]byte, 512)
		n, err := c.Read(raw)
		return err == nil && m.Unpack(raw[:n]) == nil && m.RCode == dnsmessage.RCodeNameError
	}
}

const blocked = `
config destination 'none'
	list domain 'blocked.example'
	option policy 'block'
`

// What is asked while one daemon has ended and the next has not begun is answered
// by that.
func TestLookupsWaitForTheNextDaemon(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges+blocked)
	r.start()
	first := r.status().Started
	for range 3 {
		r.o.Sockets = r.restart()
		expect(t, len(r.o.Sockets) > 0, "no socket is handed over")
		answered := query(t)
		r.start()
		expect(t, answered(), "a lookup is not answered that came while no daemon ran")
	}
	expect(t, r.status().Started.After(first), "the next daemon cannot be told from the first")
	r.wait("the tunnel is used", func() bool { return r.path("exchanges") == "other" })
}

// With settings that are refused nobody answers on the sockets of the daemon
// before: they are closed, so that lookups fail at once.
func TestSocketsThatAreNotTakenAreClosed(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges+blocked)
	r.start()
	r.o.Sockets = r.restart()
	r.set("\toption dns 'observe'\n", exchanges+blocked)
	r.start()
	c, err := net.Dial("tcp", "127.0.0.1:5399")
	if err == nil {
		_ = c.Close()
	}
	expect(t, err != nil && strings.Contains(err.Error(), "refused"), "the resolver's port is open: %v", err)
}
