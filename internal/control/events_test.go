package control

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// fixedNow is the clock of the tests.
func fixedNow() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

func TestEventLogNumbersAndDatesEvents(t *testing.T) {
	l := NewEventLog(fixedNow)
	own := fixedNow().Add(-time.Hour)
	l.Add(Event{Kind: EventFault, Reason: "first"})
	l.Add(Event{Kind: EventPath, Time: own})
	got, _ := l.After(0)
	if len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 2 {
		t.Fatalf("After(0) = %+v, want seq 1 and 2", got)
	}
	if !got[0].Time.Equal(fixedNow()) {
		t.Errorf("an event without time is dated %v, want %v", got[0].Time, fixedNow())
	}
	if !got[1].Time.Equal(own) {
		t.Errorf("an event's own time became %v, want %v", got[1].Time, own)
	}
}

func TestEventLogKeepsTheLast512(t *testing.T) {
	for _, tc := range []struct {
		name             string
		added            int
		since            uint64
		wantLen          int
		wantFirst, wantN uint64
	}{
		{"empty", 0, 0, 0, 0, 0},
		{"partly filled", 10, 0, 10, 1, 10},
		{"exactly full", 512, 0, 512, 1, 512},
		{"wrapped", 1300, 0, 512, 789, 1300},
		{"since inside", 1300, 1298, 2, 1299, 1300},
		{"since forgotten", 1300, 5, 512, 789, 1300},
		{"since the last", 1300, 1300, 0, 0, 0},
		{"since beyond the last", 3, 99, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := NewEventLog(fixedNow)
			for range tc.added {
				l.Add(Event{})
			}
			got, _ := l.After(tc.since)
			if len(got) != tc.wantLen {
				t.Fatalf("%d events, want %d", len(got), tc.wantLen)
			}
			if len(got) > 0 && (got[0].Seq != tc.wantFirst || got[len(got)-1].Seq != tc.wantN) {
				t.Errorf("seq %d to %d, want %d to %d", got[0].Seq, got[len(got)-1].Seq, tc.wantFirst, tc.wantN)
			}
		})
	}
}

func TestSubscribeGivesHistoryThenNewEventsUntilContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewEventLog(time.Now)
		l.Add(Event{})
		l.Add(Event{})
		ctx, cancel := context.WithCancel(t.Context())
		var got []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range l.Subscribe(ctx, 1) {
				got = append(got, e.Seq)
			}
		}()
		synctest.Wait()
		l.Add(Event{})
		l.Add(Event{})
		synctest.Wait()
		cancel()
		<-done
		if len(got) != 3 || got[0] != 2 || got[2] != 4 {
			t.Errorf("subscriber saw %v, want [2 3 4]", got)
		}
	})
}

func TestAddDoesNotWaitForASubscriberThatStoppedReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewEventLog(time.Now)
		l.Add(Event{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		release := make(chan struct{})
		seen := make(chan uint64, 2*eventLogSize)
		go func() {
			for e := range l.Subscribe(ctx, 0) {
				seen <- e.Seq
				<-release
			}
		}()
		synctest.Wait()
		for range 3 * eventLogSize { // would block for ever if it waited
			l.Add(Event{})
		}
		close(release)
		synctest.Wait()
		<-seen
		if next := <-seen; next != 2*eventLogSize+2 {
			t.Errorf("after the gap the reader sees %d, want the oldest remembered, %d", next, 2*eventLogSize+2)
		}
	})
}
