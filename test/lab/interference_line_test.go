package lab_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
	"github.com/routerd/routerd/test/lab/labtest"
)

// ping sends so many echo requests and gives the share that was answered and the
// shortest round trip.
func ping(t *testing.T, l *lab.Lab, family int, to string, count int) (percent float64, shortest time.Duration) {
	t.Helper()
	out, _ := l.Run(t.Context(), lab.Client, "ping", "-"+strconv.Itoa(family), "-q", "-i", "0.002", "-W", "1", "-c", strconv.Itoa(count), to)
	received := regexp.MustCompile(`(\d+) received`).FindStringSubmatch(string(out))
	if received == nil {
		t.Fatalf("ping says %q", out)
	}
	n, _ := strconv.Atoi(received[1])
	if rtt := regexp.MustCompile(`= ([\d.]+)/`).FindStringSubmatch(string(out)); rtt != nil {
		shortest, _ = time.ParseDuration(rtt[1] + "ms")
	}
	return 100 * float64(n) / float64(count), shortest
}

func TestLossTakesItsShareOfOneDirectionOrBoth(t *testing.T) {
	l, n := troubledLab(t), names(t)["bank.example"]
	to := map[int]string{4: n.A[0].String(), 6: n.AAAA[0].String()}
	for _, x := range []struct {
		x         lab.Interference
		four, six [2]float64 // bounds of the percentage answered
	}{
		{lab.Interference{Kind: interfere.Loss, Percent: 50, Direction: interfere.Out}, [2]float64{35, 65}, [2]float64{35, 65}},
		{lab.Interference{Kind: interfere.Loss, Percent: 50, Direction: interfere.In, Family: 6}, [2]float64{100, 100}, [2]float64{35, 65}},
		{lab.Interference{Kind: interfere.Loss, Percent: 50, Names: []string{"bank.example"}}, [2]float64{12, 38}, [2]float64{12, 38}},
		{lab.Interference{Kind: interfere.Loss, Percent: 100, Names: []string{"news.example"}}, [2]float64{100, 100}, [2]float64{100, 100}},
	} {
		undo := begin(t, l, x.x)
		for family, bounds := range map[int][2]float64{4: x.four, 6: x.six} {
			if got, _ := ping(t, l, family, to[family], 200); got < bounds[0] || got > bounds[1] {
				t.Errorf("%s: %g %% answered over IPv%d, want %v", x.x, got, family, bounds)
			}
		}
		undo()
	}
}

func TestDelayHoldsEachDirection(t *testing.T) {
	l, n := troubledLab(t), names(t)["bank.example"]
	to := map[int]string{4: n.A[0].String(), 6: n.AAAA[0].String()}
	undo := begin(t, l, lab.Interference{Kind: interfere.Delayed, Delay: 60 * time.Millisecond})
	one := begin(t, l, lab.Interference{Kind: interfere.Delayed, Delay: 40 * time.Millisecond, Direction: interfere.In, Family: 6})
	for family, want := range map[int]time.Duration{4: 120 * time.Millisecond, 6: 160 * time.Millisecond} {
		if got, rtt := ping(t, l, family, to[family], 20); got != 100 || rtt < want || rtt > want+100*time.Millisecond {
			t.Errorf("over IPv%d %g %% answered after %s, want %s", family, got, rtt, want)
		}
	}
	if status, page := visit(t, l, 6, "20", "https://bank.example/"); status != curlOK {
		t.Error(page)
	}
	one()
	undo()
	for family := range to {
		if _, rtt := ping(t, l, family, to[family], 20); rtt > 30*time.Millisecond {
			t.Errorf("undone, IPv%d takes %s", family, rtt)
		}
	}
}

// timed opens a page and says how long that took.
func timed(t *testing.T, l *lab.Lab, family int, url string) time.Duration {
	t.Helper()
	start := time.Now()
	if status, page := visit(t, l, family, "60", url); status != curlOK {
		t.Errorf("%s over IPv%d ends %d: %s", url, family, status, page[max(0, len(page)-200):])
	}
	return time.Since(start)
}

func TestRateIsThatOfItsTargetsOnly(t *testing.T) {
	l := troubledLab(t)
	undo := begin(t, l, lab.Interference{Kind: interfere.Rate, Names: []string{"okx.com"}})
	other := begin(t, l, lab.Interference{Kind: interfere.Rate, Names: []string{"kraken.com"}, Kbit: 512, Family: 4, Direction: interfere.In})
	const pageOf = "https://www.okx.com/bytes/16384" // a second and more at 128 kbit/s
	for _, family := range []int{4, 6} {
		if took := timed(t, l, family, pageOf); took < 700*time.Millisecond {
			t.Errorf("16 KiB over IPv%d took %s at 128 kbit/s", family, took)
		}
		if took := timed(t, l, family, "https://www.binance.com/bytes/1048576"); took > 5*time.Second {
			t.Errorf("another's 1 MiB over IPv%d took %s", family, took)
		}
	}
	if took := timed(t, l, 4, "https://www.kraken.com/bytes/65536"); took < 700*time.Millisecond {
		t.Errorf("64 KiB took %s at 512 kbit/s", took)
	}
	undo()
	if took := timed(t, l, 4, "https://www.kraken.com/bytes/65536"); took < 700*time.Millisecond {
		t.Errorf("the end of one limit ended another: 64 KiB took %s", took)
	}
	other()
	if took := timed(t, l, 6, "https://www.okx.com/bytes/1048576"); took > 5*time.Second {
		t.Errorf("undone, 1 MiB took %s", took)
	}
}

func TestFreezeLetsAboutItsBytesPass(t *testing.T) {
	l := troubledLab(t)
	begin(t, l, lab.Interference{Kind: interfere.Freeze, Names: []string{"okx.com"}})
	for _, family := range []int{4, 6} {
		status, page := visit(t, l, family, "2", "http://www.okx.com/bytes/262144")
		if status != curlTimeout || len(page) < 10<<10 || len(page) > 16<<10 {
			t.Errorf("over IPv%d curl ends %d with %d bytes", family, status, len(page))
		}
	}
}

func TestFreezeHoldsUDPToo(t *testing.T) {
	l := troubledLab(t)
	begin(t, l, lab.Interference{Kind: interfere.Freeze, Names: []string{"okx.com"}, Protocol: "udp"})
	for _, family := range []string{"4", "6"} {
		out, _ := l.Run(t.Context(), lab.Client, l.Program(), "client", "udp-echo", "www.okx.com:7", "--family", family, "--size", "1200", "--count", "15")
		if !strings.Contains(string(out), `"sent":15,"received":13,`) { // 13 datagrams of 1,228 or 1,248 bytes
			t.Errorf("over IPv%s: %s", family, out)
		}
	}
}

func TestDeadLineCarriesNothingAndComesBack(t *testing.T) {
	l, n := troubledLab(t), names(t)["bank.example"]
	for _, x := range []struct{ family, dead, alive int }{{4, 4, 6}, {6, 6, 4}} {
		undo := begin(t, l, lab.Interference{Kind: interfere.WANDown, Family: x.family})
		to := map[int]string{4: n.A[0].String(), 6: n.AAAA[0].String()}
		if got, _ := ping(t, l, x.dead, to[x.dead], 10); got != 0 {
			t.Errorf("%g %% answered over IPv%d, which is dead", got, x.dead)
		}
		if got, _ := ping(t, l, x.alive, to[x.alive], 10); got != 100 {
			t.Errorf("%g %% answered over IPv%d, which is alive", got, x.alive)
		}
		undo()
	}
	undo := begin(t, l, lab.Interference{Kind: interfere.WANDown})
	labtest.Run(t, l, lab.Router, "ip", "neigh", "flush", "dev", lab.WANDevice)
	if _, err := l.Run(t.Context(), lab.Router, "ping", "-c1", "-W1", "22.100.0.1"); err == nil {
		t.Error("the provider answers over a dead line")
	}
	undo()
	eventually(t, "the line comes back", func() bool {
		four, _ := ping(t, l, 4, n.A[0].String(), 1)
		six, _ := ping(t, l, 6, n.AAAA[0].String(), 1)
		return four == 100 && six == 100
	})
}

func TestWireGuardHandshakeIsDroppedByMessage(t *testing.T) {
	for _, message := range []string{interfere.Initiation, interfere.Response} {
		t.Run(message, func(t *testing.T) {
			l := labtest.Up(t, lab.Options{})
			before := traces(t, l)
			undo := begin(t, l, lab.Interference{Kind: interfere.WGHandshake, Messages: []string{message}})
			joinTunnel(t, l, "home", "wg-a")
			hits := func() uint64 {
				all, err := l.Interferences(t.Context())
				if err != nil || len(all) != 1 {
					t.Fatalf("the list is %+v, %v", all, err)
				}
				return all[0].Hits
			}
			labtest.Run(t, l, lab.Router, "sh", "-c", "ping -c1 -W1 10.50.0.1 >/dev/null || true")
			eventually(t, "a handshake is dropped", func() bool { return hits() > 0 })
			shaken := func() bool {
				out := strings.Fields(labtest.Run(t, l, lab.Router, "wg", "show", "wg-a", "latest-handshakes"))
				return len(out) == 2 && out[1] != "0"
			}
			if shaken() {
				t.Error("hands were shaken all the same")
			}
			undo()
			eventually(t, "hands are shaken once undone", shaken) // the next attempt is within five seconds
			if diff := cmp.Diff(before, traces(t, l)); diff != "" {
				t.Errorf("it left (-before +after):\n%s", diff)
			}
		})
	}
}

func TestDropOfUDPIsFeltByUDPOnly(t *testing.T) {
	l := troubledLab(t)
	begin(t, l, lab.Interference{Kind: interfere.Drop, Names: []string{"okx.com"}, Protocol: "udp", Ports: []uint16{7}})
	for _, family := range []string{"4", "6"} {
		out, _ := l.Run(t.Context(), lab.Client, l.Program(), "client", "udp-echo", "www.okx.com:7", "--family", family)
		if !strings.Contains(string(out), `"received":0`) {
			t.Errorf("over IPv%s: %s", family, out)
		}
	}
	if status, page := visit(t, l, 4, "10", "https://www.okx.com/"); status != curlOK {
		t.Error(page)
	}
}
