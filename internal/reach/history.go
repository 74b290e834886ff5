package reach

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

const (
	// SlotTime is how long one slot of the history is.
	SlotTime = 10 * time.Minute
	// slots are those of 24 hours.
	slots = int(24 * time.Hour / SlotTime)
	// rttUnit is what a round trip is kept in: 65,535 of them are 6.5 s.
	rttUnit = 100 * time.Microsecond
)

// Slot is what happened to a destination over a path in SlotTime.
type Slot struct {
	Start   time.Time
	OK      int           // checks that went well, at most 255 are counted
	Failed  int           // checks that did not
	Outcome Outcome       // of the last that failed; OutcomeNone: none did
	RTT     time.Duration // mean, to a tenth of a millisecond; 0: none was measured
}

// PathHistory is the last 24 hours of a destination over a path, the oldest slot
// first, the present one last. Slots without a check are there too.
type PathHistory struct {
	Path  string
	Slots []Slot
}

// Rate is the share of checks that went well, 0 to 1; NaN without any.
func (h PathHistory) Rate() float64 {
	ok, all := 0, 0
	for _, s := range h.Slots {
		ok += s.OK
		all += s.OK + s.Failed
	}
	if all == 0 {
		return math.NaN()
	}
	return float64(ok) / float64(all)
}

// RTT is the mean round trip of all checks that went well; 0 without any.
func (h PathHistory) RTT() time.Duration {
	var sum time.Duration
	n := 0
	for _, s := range h.Slots {
		if s.RTT > 0 {
			sum += s.RTT * time.Duration(s.OK)
			n += s.OK
		}
	}
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}

// cell is a slot as it is kept: 6 bytes.
type cell struct {
	rtt     uint16 // mean, in rttUnit
	ok      uint8
	failed  uint8
	outcome uint8 // index into Outcomes
	_       uint8
}

// ring is 24 hours of one path: 144 cells of 6 bytes and 8 more, 872 bytes. 128
// destinations over three paths take 330 KiB and the map's some 40.
type ring struct {
	cells [slots]cell
	last  int64 // the number of the newest slot, counted from 1970
}

// History remembers the last 24 hours by destination and path. The zero value is
// not usable. It is not safe for concurrent use.
type History struct {
	rings map[historyKey]*ring
}

type historyKey struct{ destination, path string }

// NewHistory makes an empty history.
func NewHistory() *History { return &History{rings: map[historyKey]*ring{}} }

// cellOf is where a slot is kept; numbers before 1970 are negative.
func cellOf(slot int64) int { return int((slot%int64(slots) + int64(slots)) % int64(slots)) }

func slotOf(t time.Time) int64 { return t.Unix() / int64(SlotTime/time.Second) }

// Add takes the result of one check. A path that is down counts as failed.
func (h *History) Add(now time.Time, destination string, r Result) {
	key := historyKey{destination, r.Path}
	x := h.rings[key]
	if x == nil {
		x = &ring{last: slotOf(now)}
		h.rings[key] = x
	}
	x.advance(slotOf(now))
	c := &x.cells[cellOf(x.last)]
	if r.Outcome == OutcomeOK {
		c.rtt = meanRTT(*c, r.RTT)
		c.ok = uint8(min(int(c.ok)+1, math.MaxUint8))
		return
	}
	c.failed = uint8(min(int(c.failed)+1, math.MaxUint8))
	c.outcome = uint8(slices.Index(Outcomes(), r.Outcome) + 1)
}

func meanRTT(c cell, rtt time.Duration) uint16 {
	now := min(int64(rtt/rttUnit), math.MaxUint16)
	return uint16((int64(c.rtt)*int64(c.ok) + now) / (int64(c.ok) + 1))
}

// advance empties the slots that time has passed over. A clock that was set back
// goes on in the newest slot; one that was set far back begins anew.
func (x *ring) advance(to int64) {
	if to < x.last-int64(slots) {
		*x = ring{last: to}
	}
	for i := max(x.last+1, to-int64(slots)+1); i <= to; i++ {
		x.cells[cellOf(i)] = cell{}
	}
	x.last = max(x.last, to)
}

// Of gives what is remembered of a destination, by the names of its paths.
func (h *History) Of(now time.Time, destination string) []PathHistory {
	var out []PathHistory
	for key, x := range h.rings {
		if key.destination != destination {
			continue
		}
		kept := *x
		kept.advance(slotOf(now))
		p := PathHistory{Path: key.path, Slots: make([]Slot, 0, slots)}
		for i := kept.last - int64(slots) + 1; i <= kept.last; i++ {
			p.Slots = append(p.Slots, kept.cells[cellOf(i)].slot(i))
		}
		out = append(out, p)
	}
	sorting.By(out, func(a, b PathHistory) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func (c cell) slot(number int64) Slot {
	s := Slot{
		Start: time.Unix(number*int64(SlotTime/time.Second), 0), OK: int(c.ok), Failed: int(c.failed),
		RTT: time.Duration(c.rtt) * rttUnit,
	}
	if c.outcome > 0 {
		s.Outcome = Outcomes()[c.outcome-1]
	}
	return s
}

// Keep forgets every destination and path that keep does not want.
func (h *History) Keep(keep func(destination, path string) bool) {
	for key := range h.rings {
		if !keep(key.destination, key.path) {
			delete(h.rings, key)
		}
	}
}
