package control

import (
	"context"
	"iter"
	"maps"
	"sync"
	"time"
)

// eventLogSize is how many events an EventLog remembers.
const eventLogSize = 512

// EventLog remembers the last 512 events and wakes those who follow it. Adding
// never waits for a reader: a reader that falls behind by more than the log
// holds finds a gap in Seq. Safe for use by many goroutines.
type EventLog struct {
	now func() time.Time

	mu   sync.Mutex
	ring [eventLogSize]Event // guarded by mu; event n is at n % eventLogSize
	last uint64              // guarded by mu; Seq of the newest event, 0: none
	more chan struct{}       // guarded by mu; closed by the next Add
	// counts are all events that were added; guarded by mu.
	counts map[EventCount]uint64
}

// EventCount names a counter of events; Destination is "" for those of none.
type EventCount struct {
	Kind        EventKind
	Destination string
}

// maxEventCounts bounds the counters; destinations that come later are counted
// with those of none.
const maxEventCounts = 2048

// NewEventLog makes an empty log. The clock dates events that carry no time.
func NewEventLog(now func() time.Time) *EventLog {
	return &EventLog{now: now, more: make(chan struct{}), counts: map[EventCount]uint64{}}
}

// Add appends an event, sets its Seq, and its Time when that is zero.
func (l *EventLog) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Seq = l.last
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	l.ring[e.Seq%eventLogSize] = e
	l.count(EventCount{e.Kind, e.Destination})
	close(l.more)
	l.more = make(chan struct{})
}

// count is called with mu held.
func (l *EventLog) count(key EventCount) {
	if _, known := l.counts[key]; !known && len(l.counts) >= maxEventCounts {
		key.Destination = ""
	}
	l.counts[key]++
}

// Counts gives how many events were ever added, forgotten ones too.
func (l *EventLog) Counts() map[EventCount]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// After gives the remembered events whose Seq is greater than since, oldest
// first, and a channel that is closed when the next one is added.
func (l *EventLog) After(since uint64) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since >= l.last {
		return nil, l.more
	}
	n := min(l.last-since, eventLogSize)
	events := make([]Event, 0, n)
	for seq := l.last - n + 1; seq <= l.last; seq++ {
		events = append(events, l.ring[seq%eventLogSize])
	}
	return events, l.more
}

// Subscribe yields the remembered events after since and then each new one
// until ctx ends or the loop is left.
func (l *EventLog) Subscribe(ctx context.Context, since uint64) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			events, more := l.After(since)
			for _, e := range events {
				if !yield(e) {
					return
				}
				since = e.Seq
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
		}
	}
}
