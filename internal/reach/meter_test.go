package reach

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// The kernel's wait until it sends again is found through all that wraps a
// connection; what is no socket gets no more time.
func TestStepsMayTakeWhatTheLinesQueueDoes(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wrapped := tls.Client(&meter{Conn: conn}, &tls.Config{ServerName: "www.example.com"})
	const least = 2 * 200 * time.Millisecond // Linux' TCP_RTO_MIN, twice
	for _, c := range []struct {
		name     string
		conn     net.Conn
		limit    time.Duration
		min, max time.Duration
	}{
		{"a socket", conn, 10 * time.Second, least, 10 * time.Second},
		{"wrapped twice", wrapped, 10 * time.Second, least, 10 * time.Second},
		{"no more than the limit", conn, 50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond},
		{"no socket", nopConn{}, 10 * time.Second, 0, 0},
	} {
		if got := slack(c.conn, c.limit); got < c.min || got > c.max {
			t.Errorf("%s: got %s, want %s to %s", c.name, got, c.min, c.max)
		}
	}
}

// deadlines keeps what a reader would have waited.
type deadlines struct {
	net.Conn
	waits []time.Duration
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.waits = append(d.waits, time.Until(at).Round(time.Second))
	return nil
}

func TestSlowTransfersAreGivenMoreTimeBeforeTheyAreStalled(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0:               10 * time.Second,
		3 * time.Second: 22 * time.Second,
		time.Minute:     30 * time.Second,
	} {
		conn := &deadlines{}
		p := &patient{t.Context(), conn, iotest.OneByteReader(strings.NewReader("zz")), 10 * time.Second, time.Now().Add(-took)}
		if _, err := p.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if conn.waits[0] != want {
			t.Errorf("after %s a reader waits %s, want %s", took, conn.waits[0], want)
		}
	}
}
