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

// askFor asks every second for some seconds.
func askFor(r *resolver, seconds int) {
	for range seconds {
		r.ask("vpn")
		synctest.Wait()
		time.Sleep(time.Second)
	}
}

func TestResolverKeepsItsDistanceAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []int
		dns := &names{}
		dns.set(errors.New("no such host"))
		r := newResolver(slog.New(slog.DiscardHandler), func(ctx context.Context, host string) ([]netip.Addr, error) {
			at = append(at, int(time.Since(began).Seconds()))
			return dns.lookup(ctx, host)
		}, 15*time.Second, time.Now)
		defer r.close()
		askFor(r, 200)
		if want := []int{0, 15, 45, 105}; !slices.Equal(at, want) {
			t.Errorf("lookups at %v, want %v", at, want)
		}
		dns.set(nil, "192.0.2.1")
		askFor(r, 60)
		if want := []int{225, 240, 255}; !slices.Equal(at[4:], want) {
			t.Errorf("lookups at %v, want %v", at[4:], want)
		}
	})
}

func TestKnownAddressesOutliveFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set(nil, "192.0.2.1")
		r := newResolver(slog.New(slog.DiscardHandler), dns.lookup, 15*time.Second, time.Now)
		defer r.close()
		if got, err := r.known("vpn"); got != nil || err != nil {
			t.Errorf("before: %v, %v", got, err)
		}
		askFor(r, 1)
		dns.set(errors.New("no such host"))
		askFor(r, 30)
		if got, err := r.known("vpn"); len(got) != 1 || err == nil {
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
