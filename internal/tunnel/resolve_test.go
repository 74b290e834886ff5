package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestResolverKeepsItsDistanceAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []int
		fail := true
		addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		r := newResolver(slog.New(slog.DiscardHandler), func(context.Context, string) ([]netip.Addr, error) {
			at = append(at, int(time.Since(began).Seconds()))
			if fail {
				return nil, errors.New("no such host")
			}
			return addrs, nil
		}, 15*time.Second, time.Now)
		defer r.close()
		if got, err := r.known("vpn"); got != nil || err != nil {
			t.Errorf("before: %v, %v", got, err)
		}
		ask := func(seconds int) {
			for range seconds {
				r.ask("vpn")
				synctest.Wait()
				time.Sleep(time.Second)
			}
		}
		ask(200)
		if want := []int{0, 15, 45, 105}; !slices.Equal(at, want) {
			t.Errorf("lookups at %v, want %v", at, want)
		}
		if _, err := r.known("vpn"); err == nil {
			t.Error("the failure is not known")
		}
		fail = false
		ask(60)
		if want := []int{225, 240, 255}; !slices.Equal(at[4:], want) {
			t.Errorf("lookups at %v, want %v", at[4:], want)
		}
		fail = true
		ask(30)
		if got, err := r.known("vpn"); !slices.Equal(got, addrs) || err == nil {
			t.Errorf("after a failure: %v, %v", got, err)
		}
		r.keep(map[string]bool{})
		if got, _ := r.known("vpn"); got != nil {
			t.Error("the name was not forgotten")
		}
	})
}

func TestResolverNeverBlocksAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		r := newResolver(slog.New(slog.DiscardHandler), func(ctx context.Context, _ string) ([]netip.Addr, error) {
			running++
			<-ctx.Done()
			return nil, ctx.Err()
		}, time.Second, time.Now)
		for range 5 {
			r.ask("slow")
			synctest.Wait()
		}
		if running != 1 {
			t.Errorf("%d lookups of one name run at once", running)
		}
		r.close()
		if _, err := r.known("slow"); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		r.ask("slow")
		synctest.Wait()
		if running != 1 {
			t.Error("a closed resolver begins lookups")
		}
	})
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	for failures, want := range []int{1, 2, 4, 8, 10, 10} {
		if got := backoff(time.Second, 10*time.Second, failures); got != time.Duration(want)*time.Second {
			t.Errorf("after %d failures %v", failures, got)
		}
	}
	if got := backoff(time.Second, time.Minute, 1<<30); got != time.Minute {
		t.Errorf("after many failures %v", got)
	}
}
