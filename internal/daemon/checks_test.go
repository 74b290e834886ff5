package daemon

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

const checkedSettings = `
config routerd 'main'
	list lan 'br-lan'
config tunnel 'home'
	option type 'interface'
	option device 'tun0'
config tunnel 'other'
	option type 'interface'
	option device 'tun1'
config destination 'own'
	list domain 'own.example'
	list service 'okx'
	list check 'tls://own.example'
	option check_interval '30'
	option check_direct '0'
	list tunnel 'other'
config destination 'pools'
	list category 'pool'
config destination 'plain'
	list domain 'plain.example'
	list address '198.51.100.0/24'
	option policy 'direct'
config destination 'shut'
	list domain 'shut.example'
	option policy 'block'
config destination 'off'
	list domain 'off.example'
	option enabled '0'
`

func targets(specs []reach.Spec) []string {
	var out []string
	for _, s := range specs {
		out = append(out, s.Destination+" "+s.Target.String())
	}
	return out
}

func TestTargetsOfDestinations(t *testing.T) {
	s := parsed(t, checkedSettings)
	all := checkSpecs(s, math.MaxInt)
	few := checkSpecs(s, maxScheduled)
	if own := all[0]; own.Target.String() != "tls://own.example" || own.Interval != 30*time.Second || !slices.Equal(own.Paths, []string{"other"}) {
		t.Errorf("own check: %+v", own)
	}
	if len(few) != 1+maxScheduled+1 || len(all) < 40 {
		t.Errorf("%d are scheduled, %d are there", len(few), len(all))
	}
	for _, x := range all[1 : len(all)-1] {
		if x.Destination != "pools" || !slices.Equal(x.Paths, []string{steer.PathDirect, "home", "other"}) {
			t.Errorf("a pool: %+v", x)
		}
	}
	if last := targets(all)[len(all)-1]; last != "plain https://plain.example/" {
		t.Errorf("a destination without checks is checked by %s", last)
	}
}

func TestWhatIsCheckedByWord(t *testing.T) {
	s := parsed(t, checkedSettings)
	for _, c := range []struct{ words, want string }{
		{"own", "own tls://own.example"},
		{"own.example own", "own tls://own.example"},
		{"OWN.example.", "own tls://own.example"},
		{"tls://own.example", "own tls://own.example"},
		{"https://own.example/x", "own https://own.example/x"},
		{"www.plain.example", "plain https://www.plain.example/"},
		{"tcp://198.51.100.7:22", "plain tcp://198.51.100.7:22"},
		{"unlisted.example", " https://unlisted.example/"},
		{"shut", ""},
		{"ftp://x", "error"},
		{"tcp://x", "error"},
	} {
		specs, err := checkWhat(s, strings.Fields(c.words))
		got := strings.Join(targets(specs), ", ")
		if err != nil {
			got = "error"
			if !errors.Is(err, control.ErrInvalid) {
				t.Errorf("%s: %v is not the caller's fault", c.words, err)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q (%v), want %q", c.words, got, err, c.want)
		}
	}
	if all, err := checkWhat(s, nil); err != nil || len(all) < 40 {
		t.Errorf("all: %d, %v", len(all), err)
	}
}

func TestChecksAsTheyAreTold(t *testing.T) {
	s := parsed(t, checkedSettings)
	d := deciding(s)
	d.view.choices = map[string]steer.Choice{"own": {Path: "other"}}
	paths := checkPaths(&d.view)
	expect(t, len(paths) == 3 && paths[0].Direct && paths[1] == reach.Path{Name: "home", Index: owned.PathTunnel0}, "paths: %+v", paths)
	spec := checkSpecs(s, 1)[0]
	c := checkOf(&d.view, reach.State{Spec: spec})
	expect(t, c.Verdict == "unknown" && c.Since == nil && c.Paths != nil && c.Path == "other", "not checked: %+v", c)
	c = checkOf(&d.view, reach.State{
		Spec: spec, Verdict: reach.Finding{Verdict: reach.Reachable, Sentence: "it works"}, Since: time.Unix(1, 0),
		Results: []reach.Result{{Path: "other", Outcome: reach.OutcomeOK, RTT: 1500 * time.Microsecond}, {Path: "direct", Outcome: reach.PathDown}},
	})
	expect(t, c.Verdict == "reachable" && c.Since != nil && c.Checked == nil, "checked: %+v", c)
	expect(t, *c.Paths[0].RTTMs == 1.5 && c.Paths[1].RTTMs == nil && c.Paths[1].Outcome == "path_down", "paths: %+v", c.Paths)
}

func TestHistoryAsItIsTold(t *testing.T) {
	h := historyOf("own", reach.PathHistory{Path: "other", Slots: []reach.Slot{{OK: 3, RTT: time.Millisecond}, {}, {OK: 1, Failed: 1, Outcome: reach.TLSReset}}})
	var outcomes []string
	for _, x := range h.Slots {
		outcomes = append(outcomes, x.Outcome)
	}
	expect(t, slices.Equal(outcomes, []string{"ok", "", "tls_reset"}) && *h.OKRate == 0.8 && h.SlotS == 600, "history: %+v", h)
	h = historyOf("own", reach.PathHistory{})
	expect(t, h.OKRate == nil && h.RTTMs == nil, "history of nothing: %+v", h)
}

func TestTargetsAreKnownAsSoonAsSettingsAreInForce(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.begin()
	var checks []control.Check
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		var err error
		if checks, err = r.client().Checks(t.Context()); err == nil {
			break
		}
	}
	if len(checks) != 1 || checks[0].Target != "https://example.org/" {
		t.Errorf("the first answer is %+v", checks)
	}
}
