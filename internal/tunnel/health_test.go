package tunnel

import (
	"testing"
	"time"
)

// look is one sample in a story, seconds after its beginning.
type look struct {
	at        int
	handshake int // seconds after the beginning by the wall clock; 0: never
	rx, tx    uint64
	asked     bool // a nudge went out then
	want      Health
	reason    string
}

const to = "192.0.2.2:51820"

func TestHealthFollowsHandshakesAndCounters(t *testing.T) {
	keepalive := 25 * time.Second
	noAnswer := "the peer is down, or its packets are blocked on the way"
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"handshake, then traffic", []look{
			{at: 0, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 1, tx: 148, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 2, handshake: 2, tx: 180, rx: 92, want: Up},
			{at: 3, handshake: 2, tx: 9000, rx: 9000, want: Up},
		}},
		{"no answer to the first handshake", []look{
			{at: 0, tx: 148, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 14, tx: 444, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 20, tx: 592, want: Down, reason: "no handshake answer from " + to + " for 20 s: the peer is down, the key is wrong, or the handshake is blocked on the way"},
			{at: 21, tx: 592, rx: 92, handshake: 21, want: Up},
		}},
		{"nothing can be sent", []look{
			{at: 0, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 15, want: Down, reason: "nothing could be sent to " + to + " for 15 s: there is no route to it"},
		}},
		{"peer stops answering data", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 1, handshake: -10, rx: 1000, tx: 2000, want: Up},
			{at: 15, handshake: -10, rx: 1000, tx: 9000, want: Up},
			{at: 16, handshake: -10, rx: 1000, tx: 9148, want: Down, reason: "no answer from " + to + " for 15 s, last handshake 26 s ago: " + noAnswer},
			{at: 300, handshake: -10, rx: 1000, tx: 9148, want: Down, reason: "no answer from " + to + " for 4 min, last handshake 5 min ago: " + noAnswer},
			{at: 301, handshake: 301, rx: 1092, tx: 9300, want: Up},
		}},
		{"keepalives need no answer", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 25, handshake: -10, rx: 1000, tx: 1032, want: Up},
			{at: 50, handshake: -10, rx: 1000, tx: 1064, want: Up},
			{at: 120, handshake: -10, rx: 1000, tx: 1064 + 2*32, want: Up},
		}},
		{"rehandshake of an idle tunnel is not answered", []look{
			{at: 0, handshake: -100, rx: 1000, tx: 1000, want: Up},
			{at: 30, handshake: -100, rx: 1000, tx: 1148, want: Up},
			{at: 44, handshake: -100, rx: 1000, tx: 1444, want: Up},
			{at: 45, handshake: -100, rx: 1000, tx: 1592, want: Down, reason: "no answer from " + to + " for 15 s, last handshake 2 min ago: " + noAnswer},
		}},
		{"answers within the time", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 1, handshake: -10, rx: 1000, tx: 2000, want: Up},
			{at: 11, handshake: -10, rx: 1032, tx: 2000, want: Up},
			{at: 40, handshake: -10, rx: 1032, tx: 2000, want: Up},
		}},
		{"idle with an old handshake is not down", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 600, handshake: -10, rx: 1000, tx: 1000, want: Up},
		}},
		{"old handshake, asked again", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 599, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 600, handshake: -10, rx: 1000, tx: 1148, want: Connecting, reason: "asking " + to + " for a new handshake, the last was 10 min ago"},
			{at: 601, handshake: 601, rx: 1092, tx: 1180, want: Up},
		}},
		{"nudge with the WAN gone", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 20, handshake: -10, rx: 1000, tx: 1000, asked: true, want: Up},
			{at: 35, handshake: -10, rx: 1000, tx: 1000, want: Down, reason: "nothing could be sent to " + to + " for 15 s: there is no route to it"},
		}},
		{"adopted while it works", []look{
			{at: 0, handshake: -170, rx: 1000, tx: 1000, want: Up},
			{at: 1, handshake: -170, rx: 1100, tx: 1100, want: Up},
		}},
		{"adopted with a dead session", []look{
			{at: 0, handshake: -500, rx: 1000, tx: 1000, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 15, handshake: -500, rx: 1000, tx: 1444, want: Down, reason: "no handshake answer from " + to + " for 15 s: the peer is down, the key is wrong, or the handshake is blocked on the way"},
		}},
		{"adopted after the wall clock was set", []look{
			{at: 0, handshake: -1700000000, rx: 1000, tx: 1000, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 1, handshake: -1700000000, rx: 2000, tx: 2000, want: Up},
		}},
		{"wall clock set while running", []look{
			{at: 0, tx: 148, want: Connecting, reason: "waiting for the first handshake answer from " + to},
			{at: 1, handshake: -1700000000, rx: 92, tx: 180, want: Up},
			{at: 100, handshake: -1700000000, rx: 92, tx: 180, want: Up},
			{at: 130, handshake: 1700000000, rx: 184, tx: 400, want: Up},
		}},
		{"made anew", []look{
			{at: 0, handshake: -10, rx: 1000, tx: 1000, want: Up},
			{at: 1, rx: 0, tx: 148, want: Connecting, reason: "waiting for the first handshake answer from " + to},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			var tr track
			for _, l := range c.looks {
				now := began.Add(time.Duration(l.at) * time.Second)
				s := sample{rx: l.rx, tx: l.tx}
				if l.handshake != 0 {
					s.handshake = began.Round(0).Add(time.Duration(l.handshake) * time.Second)
				}
				tr = tr.observe(now, s, keepalive)
				if l.asked {
					tr = tr.asked(now)
				}
				health, reason := tr.judge(now, answerTime, to)
				if health != l.want || reason != l.reason {
					t.Errorf("at %d s: %s (%s), want %s (%s)", l.at, health, reason, l.want, l.reason)
				}
			}
		})
	}
}

func TestChangedKeysForgetTheOldSession(t *testing.T) {
	now := time.Now()
	s := sample{handshake: now.Add(-time.Second), rx: 1000, tx: 1000}
	tr := track{}.observe(now, s, 0).forget(now)
	now = now.Add(time.Second)
	tr = tr.observe(now, s, 0)
	if h, _ := tr.judge(now, answerTime, to); h != Connecting {
		t.Errorf("health is %s", h)
	}
	s.handshake, s.rx = now, 1092
	if h, _ := tr.observe(now, s, 0).judge(now, answerTime, to); h != Up {
		t.Errorf("after a handshake health is %s", h)
	}
}

func TestIdleCountsFromWhatWasHeardLast(t *testing.T) {
	now := time.Now()
	tr := track{}.observe(now, sample{handshake: now.Add(-time.Minute), rx: 10, tx: 10}, 0)
	if got := tr.idle(now.Add(5 * time.Second)); got != 5*time.Second {
		t.Errorf("after adoption idle is %v", got)
	}
	now = now.Add(10 * time.Second)
	tr = tr.observe(now, sample{handshake: tr.last.handshake, rx: 20, tx: 10}, 0)
	if got := tr.idle(now.Add(3 * time.Second)); got != 3*time.Second {
		t.Errorf("after data idle is %v", got)
	}
}

func TestBestOfSeveralPeersCounts(t *testing.T) {
	best := judgement{}
	for _, j := range []judgement{{health: Down, reason: "a"}, {health: Down, reason: "b"}, {health: Connecting, reason: "c"}, {health: Up}, {health: Down}} {
		best = best.better(j)
		if j.health == Down && best.reason == "b" {
			t.Error("the second of equals won")
		}
	}
	if best.health != Up {
		t.Errorf("best is %s", best.health)
	}
}
