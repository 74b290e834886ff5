package tunnel

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestCauseOfAPeerThatIsDown(t *testing.T) {
	began := time.Unix(10_000, 0)
	at := func(s int) time.Time {
		if s < 0 {
			return time.Time{}
		}
		return began.Add(time.Duration(s) * time.Second)
	}
	for _, tt := range []struct {
		name                          string
		handshake, heard, sent, asked int // seconds, -1: never
		health                        Health
		want                          Cause
	}{
		{"up", 0, 10, 10, -1, Up, ""},
		{"connecting", -1, -1, 0, 0, Connecting, ""},
		{"nothing was ever sent", -1, -1, -1, 0, Down, CauseNoRoute},
		{"nothing goes out any more", 0, 10, 10, 20, Down, CauseNoRoute},
		{"never answered", -1, -1, 20, 0, Down, CauseHandshake},
		{"has stopped answering", 0, 100, 130, 110, Down, CauseNoAnswer},
		{"data until the session's end", 0, 178, 200, 181, Down, CauseBlocked},
	} {
		tr := track{began: began, handshakeAt: at(tt.handshake), rxAt: at(tt.heard), txAt: at(tt.sent), askedAt: at(tt.asked)}
		if got := tr.cause(tt.health); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if text := tr.blocked(at(300), to); !strings.Contains(text, to) || !strings.Contains(text, "blocked on the way") {
			t.Errorf("%s: %s", tt.name, text)
		}
	}
}

func TestBlockedHandshakeIsToldFromADeadHost(t *testing.T) {
	newWorld(t) // whose hosts answer pings, and which has no peer
	ours, _ := keys(t)
	_, theirPub := keys(t)
	for endpoint, want := range map[string]Cause{peerAddr4: CauseBlocked, "[2001:db8::2]:51820": CauseBlocked, "192.0.2.9:51820": CauseHandshake} {
		t.Run(endpoint, func(t *testing.T) {
			m := newTestManager(t, nil)
			_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, endpoint))})
			must(t, err)
			s := until(t, m, Down, 10*time.Second)
			for deadline := time.Now().Add(5 * time.Second); s.Cause != want && time.Now().Before(deadline); {
				s = m.Refresh(t.Context())[0]
				time.Sleep(20 * time.Millisecond)
			}
			if s.Cause != want {
				t.Errorf("cause %q (%s), want %q", s.Cause, s.Reason, want)
			}
		})
	}
}

func TestEchoRequestIsSummed(t *testing.T) {
	b := echo(8, 0x1234)
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff || b[0] != 8 || b[4] != 0x12 || b[5] != 0x34 {
		t.Errorf("% x, sum %x", b, sum)
	}
}

func TestPingIsCutShort(t *testing.T) {
	newWorld(t)
	p := newPinger(time.Now)
	if p.answers(netip.MustParseAddr("192.0.2.9"), testMark) {
		t.Error("nobody answers, and is said to")
	}
	closed := make(chan struct{})
	go func() {
		p.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a ping under way keeps the pinger from closing")
	}
}

// An endpoint's name may have another address at each lookup.
func TestPingedHostsAreForgottenBeforeTheyAreMany(t *testing.T) {
	p := newPinger(time.Now)
	defer p.close()
	p.stop() // what is asked then ends at once
	for i := range 10 * pingMost {
		p.answers(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 0)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.hosts) > pingMost {
		t.Errorf("%d hosts are remembered, want %d at most", len(p.hosts), pingMost)
	}
}
