package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

// slots makes a day of which only the end is known: each letter of a text is a
// slot, "." for two checks that went well, a blank for none.
func slots(end string, outcomes map[byte]string) []control.HistorySlot {
	out := make([]control.HistorySlot, 144)
	for i := range out {
		out[i].Begin = fixedNow().Add(time.Duration(i-len(out)+1) * 10 * time.Minute)
	}
	last := out[len(out)-len(end):]
	for i := range end {
		switch s := &last[i]; end[i] {
		case ' ':
		case '.':
			s.Checks, s.OK, s.Outcome, s.RTTMs = 2, 2, "ok", ptr(40.0)
		default:
			s.Checks, s.Outcome = 2, outcomes[end[i]]
		}
	}
	return out
}

func fixtureHistory() []control.History {
	outcomes := map[byte]string{'D': "dns_tampered", 'T': "tls_reset", 'F': "stalled", 'P': "path_down", 'R': "service_refused", 'S': "stratum_reset", 'C': "tcp_timeout", 'H': "http_block_page", '?': "of_a_later_version"}
	day := func(destination, path, end string, rate, rtt *float64) control.History {
		return control.History{Destination: destination, Path: path, SlotS: 600, OKRate: rate, RTTMs: rtt, Slots: slots(end, outcomes)}
	}
	return []control.History{
		day("exchanges", "direct", "......TTTTTT...DDD...FFFPPPRRRSSSCCCHHH???", ptr(0.4567), ptr(40.0)),
		day("exchanges", "long_tunnel1", strings.Repeat(".", 144), ptr(1.0), ptr(6553.5)),
		day("pools", "direct", "..T..TT.", ptr(0.625), ptr(9.13)),
		day("pools", "home", "", nil, nil),
	}
}

func historyFixtures() control.Handlers {
	return control.Handlers{History: func(_ context.Context, name string) ([]control.History, error) {
		switch name {
		case "":
			return fixtureHistory(), nil
		case "new":
			return nil, nil
		case "pools":
			return fixtureHistory()[2:], nil
		}
		return nil, fmt.Errorf("%w: the settings have no destination %q", control.ErrInvalid, name)
	}}
}

func TestHistoryIsDrawn(t *testing.T) {
	socket, _ := daemonWith(t, historyFixtures())
	r := call(t, "", "history", "--socket", socket)
	r.want(t, exitDone, "", "")
	golden(t, "history.txt", r.stdout)
	plain80(t, r.stdout)
	r = call(t, "", "history", "pools", "--json", "--socket", socket)
	r.want(t, exitDone, `"slot_s": 600`, "")
	everyLineOrAllIsJSON(t, r.stdout)
	call(t, "", "history", "new", "--socket", socket).want(t, exitDone, "Nothing has been checked yet", "")
	call(t, "", "history", "new", "--json", "--socket", socket).want(t, exitDone, "[]\n", "")
	call(t, "", "history", "nobody", "--socket", socket).want(t, exitFailed, "", `no destination "nobody"`)
	call(t, "", "history", "a/b", "--socket", socket).want(t, exitUsage, "", "cannot be the name of a list or destination")
	call(t, "", "history", "", "--socket", socket).want(t, exitUsage, "", "is empty")
	call(t, "", "history", "a", "b").want(t, exitUsage, "", "at most 1")
}

func TestHistoryIsDrawnFinerOnAWideTerminal(t *testing.T) {
	h := fixtureHistory()[0]
	for room, want := range map[int]int{200: 144, 144: 144, 143: 72, 72: 72, 48: 48, 47: 36, 9: 9, 1: 1} {
		if got := len(newStrip(h, room)); got != want {
			t.Errorf("%d characters of room take a strip of %d, want %d", room, got, want)
		}
	}
	if got := newStrip(control.History{}, 48); got != nil {
		t.Errorf("no slots make %v", got)
	}
}

func TestHistoryIsColouredOnATerminal(t *testing.T) {
	a := testApp("", &strings.Builder{}, &strings.Builder{})
	a.term.color = true
	line := a.historyLine(fixtureHistory()[2], newStrip(fixtureHistory()[2], 48))
	for _, want := range []string{"\x1b[33mt", "\x1b[32m.\x1b[0m"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
}
