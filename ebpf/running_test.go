package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// mapPins are the pins of maps in a world's directory.
func (w *world) mapPins(t testing.TB) (out []string) {
	t.Helper()
	files, err := os.ReadDir(w.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := w.spec.maps[f.Name()]; ok {
			out = append(out, f.Name())
		}
	}
	if len(out) != len(w.spec.maps)-2 { // all but scratch and stages
		t.Fatalf("pinned are %q of %d maps", out, len(w.spec.maps))
	}
	return out
}

// attachedWorld is a world whose programs are attached and know an address.
func attachedWorld(t *testing.T, hook Hook) *world {
	t.Helper()
	w := openWorld(t, func(o *Options) { o.Hook = hook })
	mustAttach(t, w.DataPlane, "lan0", "wan0")
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	w.goes(t, "SYN", to("198.51.100.1"), tunnelA)
	return w
}

// nextKnows fails unless the next process finds everything that is known.
func (w *world) nextKnows(t *testing.T, when string) *world {
	t.Helper()
	next := &world{DataPlane: w.again(t), ns: w.ns, lan: w.lan, wan: w.wan}
	if !next.Adopted() || next.seed != w.seed {
		t.Errorf("%s: adopted %t, seed %x, before %x", when, next.Adopted(), next.seed, w.seed)
	}
	if got := next.knownAddrs(t); !slices.Equal(got, []string{"198.51.100.1"}) {
		t.Errorf("%s: known %v", when, got)
	}
	next.onlyFlow(t)
	return next
}

func TestMapsInUseAreFoundWithoutTheirPins(t *testing.T) {
	for _, hook := range []Hook{HookTCX, HookClsact} {
		t.Run(string(hook), func(t *testing.T) {
			w := attachedWorld(t, hook)
			pins := w.mapPins(t)
			for _, pin := range pins {
				if err := os.Remove(w.pin(pin)); err != nil {
					t.Fatal(err)
				}
				w.nextKnows(t, "without pin "+pin)
			}
			for _, pin := range pins {
				if err := os.Remove(w.pin(pin)); err != nil {
					t.Fatal(err)
				}
			}
			next := w.nextKnows(t, "without any pin of a map")
			mustSet(t, next.DataPlane, w.tables)
			mustAttach(t, next.DataPlane, "lan0", "wan0")
			next.goes(t, "data, for the next process' programs", to("198.51.100.1", flags(ack)), tunnelA)
			next.nextKnows(t, "the process after that")
		})
	}
}

func TestPinsOfOtherMapsAreNotMistakenForThoseInUse(t *testing.T) {
	w := attachedWorld(t, "")
	for _, pin := range w.mapPins(t) {
		foreign, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := repin(foreign, w.pin(pin)); err != nil {
			t.Fatal(err)
		}
		foreign.Close()
		w.nextKnows(t, "with another map in the place of "+pin)
	}
}

// Nothing is taken from a program that hangs under somebody else's name, nor from
// a pin that is no link.
func TestOnlyOurOwnProgramsAreAskedForTheirMaps(t *testing.T) {
	w := ownWorld(t)
	if got := w.attachedPrograms(); len(got) > 0 {
		t.Errorf("programs %v before any is attached", got)
	}
	if err := pinMark(filepath.Join(w.opts.Dir, linkPrefix+"77_steer")); err != nil {
		t.Fatal(err)
	}
	if got := w.runningMaps(); len(got) > 0 {
		t.Errorf("maps %v of no program", got)
	}
	mustAttach(t, w.DataPlane, "lan0")
	got := w.runningMaps()
	for _, name := range w.mapPins(t) {
		if name == bpfMapNumbers {
			continue // no program uses it
		}
		if len(got[name]) != 1 || got[name][0] != w.pinnedID(name) {
			t.Errorf("map %s in use is %v, pinned is %d", name, got[name], w.pinnedID(name))
		}
	}
}

// Learned addresses mean destinations by number: when the names of the numbers are
// lost, no destination gets the number of another.
func TestLostNumbersAreNotGivenToOthers(t *testing.T) {
	w := ownWorld(t)
	if err := os.Remove(w.pin(bpfMapNumbers)); err != nil {
		t.Fatal(err)
	}
	next := w.again(t)
	tunnels, err := next.Paths([]string{"home"}, owned.PathTunnel0+2)
	if err != nil || tunnels["home"] != owned.PathTunnel0 {
		t.Errorf("paths %v, %v", tunnels, err)
	}
	got, err := next.Destinations([]string{"direct", "closed"})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range got {
		for old, m := range w.dest {
			if n == m {
				t.Errorf("%s has the number %d of %s", name, n, old)
			}
		}
	}
}

func TestLostNumbersLeaveRoomForAllDestinations(t *testing.T) {
	w := ownWorld(t)
	many := make([]string, MaxDestinations-1)
	for i := range many {
		many[i] = fmt.Sprintf("d%d", i)
	}
	if err := os.Remove(w.pin(bpfMapNumbers)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.again(t).Destinations(many); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

func TestPinsAreClaimedByOneProcess(t *testing.T) {
	dir := pinDir(t)
	first, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(dir); !errors.Is(err, ErrClaimed) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second claim: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Claim(dir)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	next.Close()
}
