package daemon

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
)

// learned is an event as the data plane gives for a name of a rule.
func (r *router) learned(d *daemon, kind ebpf.EventKind, rule, name string, addr int) ebpf.Event {
	r.Helper()
	hash, err := d.dp.Hash(rule)
	need(r.T, err)
	e := ebpf.Event{Kind: kind, Client: ebpf.ClientSelf, Name: name, Rule: hash, Target: 1, TTL: 300, Time: ebpf.Now()}
	if addr > 0 {
		e.Addrs = append(e.Addrs, numbered(addr))
	}
	return e
}

// told gives the events of a kind with these words.
func told(d *daemon, kind control.EventKind, words string) []control.Event {
	all, _ := d.events.After(0)
	return slices.DeleteFunc(all, func(e control.Event) bool { return e.Kind != kind || !strings.Contains(e.To+e.Reason, words) })
}

func TestAnswersThatCannotBeReadAreToldOnceARule(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges+pools)
	d := r.inside()
	var events []ebpf.Event
	for range 1000 {
		events = append(events, r.learned(d, ebpf.EventUnparsed, "example.org", "a.example.org", 0))
	}
	last := r.learned(d, ebpf.EventUnparsed, "pool.example", "pool.example", 0)
	last.Withheld = true
	d.learn(t.Context(), append(events, last))
	got := told(d, control.EventFault, "could not be read whole")
	expect(t, len(got) == 2, "told %d times, want once a rule", len(got))
	expect(t, strings.Contains(got[0].Reason, "may use the direct path"), "%s", got[0].Reason)
	expect(t, strings.Contains(got[1].Reason, "withheld"), "%s", got[1].Reason)
}

func TestLearnedEntriesThatAreGoneArePutBack(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	d.learn(t.Context(), []ebpf.Event{
		r.learned(d, ebpf.EventLearned, "example.org", "a.example.org", 1),
		r.learned(d, ebpf.EventLearned, "settings.before.example", "settings.before.example", 2),
	})
	known, err := d.snapshot()
	need(t, err)
	expect(t, len(known.grants) == 1 && known.grants[0].Addr == numbered(1), "known: %+v", known)
	expect(t, r.ownSet() == 1, "own traffic is steered to %d addresses, want 1", r.ownSet())
}

func TestEventsOlderThanTheMapsHaveThemFilledAnew(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	old := r.learned(d, ebpf.EventLearned, "example.org", "a.example.org", 1)
	old.Time, old.Target = d.filled.at, 77
	d.learn(t.Context(), []ebpf.Event{old})
	expect(t, d.filled == nil && d.dirty == pathsOnly, "not noted: %+v, %d", d.filled, d.dirty)
	r.turn(d)
	known, err := d.snapshot()
	need(t, err)
	expect(t, len(known.grants) == 1 && known.grants[0].Target != 77 && !known.grants[0].Draining, "known: %+v", known)
}

func TestEntriesOfNoRuleHaveTheMapsFilledAnew(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	need(t, d.dp.Ensure(r.learned(d, ebpf.EventLearned, "gone.example", "gone.example", 1)))
	d.expire(t.Context())
	expect(t, d.filled == nil, "an entry whose rule is gone is left to steer")
	r.turn(d)
	known, err := d.snapshot()
	need(t, err)
	expect(t, len(known.grants) == 1 && known.grants[0].Draining, "known: %+v", known)
	d.expire(t.Context())
	expect(t, d.filled != nil, "a drained entry has the maps filled again and again")
}

// Settings are tidied: the name is still closed, and clients still have its address.
func TestWhatWasLearnedByARuleThatIsGoneIsTheWiderRules(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges+"\tlist domain 'api.example.org'\n")
	d := r.inside()
	need(t, d.dp.Ensure(r.learned(d, ebpf.EventLearned, "api.example.org", "api.example.org", 1)))
	r.set("", exchanges)
	for range 2 {
		_, err := d.reload(t.Context())
		need(t, err)
		known, err := d.snapshot()
		need(t, err)
		wider, err := d.dp.Hash("example.org")
		need(t, err)
		for _, k := range slices.Concat(known.addresses, known.grants) {
			expect(t, k.Rule == wider && !k.Draining, "known: %+v, want it known by the rule of example.org", k)
		}
		expect(t, len(known.addresses) == 1 && len(known.grants) == 1, "known: %+v", known)
	}
}

func TestLostEventsAreCaughtUpWith(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	for i := range 10 {
		need(t, d.dp.Ensure(r.learned(d, ebpf.EventLearned, "example.org", "a.example.org", i+1)))
	}
	d.catchUp(t.Context())
	expect(t, r.ownSet() == 0, "read although nothing was lost: %d", r.ownSet())
	d.dropped.Add(1)
	d.catchUp(t.Context())
	expect(t, r.ownSet() == 0, "read twice within %v", catchUpTime)
	d.lastCatchUp = time.Time{}
	d.catchUp(t.Context())
	expect(t, r.ownSet() == 10, "own traffic is steered to %d addresses, want 10", r.ownSet())
}

func TestMarkMaskChangesWithFlows(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	r.syn("5.5.5.1", 443)
	r.set("\toption mark_mask '0x00f00000'\n\toption max_addresses '2048'", exchanges)
	_, err := d.reload(t.Context())
	need(t, err)
	open, _ := flowsTo(r, d.dp, "5.5.5.1")
	expect(t, open == 1, "%d flows, want the one that there was", open)
	expect(t, strings.Contains(r.rules(), "/0xf00000") && !strings.Contains(r.rules(), "/0xf000000"), "rules:\n%s", r.rules())
	r.syn("5.5.5.2", 443)
	stats, err := d.dp.Stats()
	need(t, err)
	expect(t, stats.Steered == 2, "%d packets were steered, want 2", stats.Steered)
}

func TestReloadBySignal(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	hangup := make(chan struct{}, 1)
	r.o.Reload = hangup
	r.set("", exchanges)
	r.start()
	r.set("", exchanges+pools)
	hangup <- struct{}{}
	r.wait("the new destination is there", func() bool { return r.path("pools") == "other" })
	r.set("\toption mark_mask '0x5'", "")
	hangup <- struct{}{}
	r.wait("the refusal is told", func() bool { return r.problem("mark_mask") })
	expect(t, r.path("pools") == "other", "the old settings are not in force")
}

func TestCatalogueOfADaemon(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("\toption enabled '0'", "")
	r.start()
	var all, found []control.Service
	need(t, json.Unmarshal([]byte(r.get("/v1/catalogue")), &all))
	need(t, json.Unmarshal([]byte(r.get("/v1/catalogue?word=binance")), &found))
	expect(t, len(found) > 0 && len(found) < len(all), "%d of %d services", len(found), len(all))
	has := func(s control.Service) bool { return s.ID == "binance" && slices.Contains(s.Domains, "binance.com") }
	expect(t, slices.ContainsFunc(found, has), "%+v", found)
	expect(t, !strings.Contains(r.get("/v1/catalogue"), "null"), "a list is null")
}
