package ebpf

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// again opens the data plane of a world anew, as the next process does.
func (w *world) again(t *testing.T, change ...func(*Options)) *DataPlane {
	t.Helper()
	o := w.opts
	for _, c := range change {
		c(&o)
	}
	return mustOpen(t, o)
}

func TestTheNextProcessAdoptsWhatItFinds(t *testing.T) {
	w := ownServedWorld(t)
	w.goes(t, "SYN", to("198.51.100.1"), tunnelA)
	before, flow := w.knownAddrs(t), w.onlyFlow(t)
	if w.Adopted() {
		t.Error("the first process adopted something")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	next := &world{DataPlane: w.again(t), ns: w.ns, lan: w.lan, wan: w.wan}
	if !next.Adopted() || next.seed != w.seed {
		t.Errorf("adopted %t, seed %x, before %x", next.Adopted(), next.seed, w.seed)
	}
	if got := next.knownAddrs(t); !slices.Equal(got, before) {
		t.Errorf("known %v, before %v", got, before)
	}
	got := next.onlyFlow(t)
	if got.Waiting, flow.Waiting = 0, 0; got != flow { // time goes on
		t.Errorf("flow %+v, before %+v", got, flow)
	}
	next.goes(t, "data of the old flow, before any tables are set", to("198.51.100.1", flags(ack)), tunnelA)
	next.goes(t, "new flow", to("198.51.100.2"), tunnelB)
}

func TestOpenTakesEntriesOverIntoMapsOfAnotherSize(t *testing.T) {
	for _, size := range []int{64, 4096} {
		w := ownServedWorld(t)
		w.goes(t, "SYN", to("198.51.100.1"), tunnelA)
		mustAttach(t, w.DataPlane, "lan0")
		before := w.knownAddrs(t)
		next := w.again(t, func(o *Options) { o.MaxAddresses, o.MaxFlows = size, size })
		// The first one's programs go on until the next one's are there.
		w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.77")...)
		mustAttach(t, next, "lan0")
		if got, want := next.knownAddrs(t), sorted(append(before, "198.51.100.77")); !slices.Equal(got, want) {
			t.Errorf("size %d: known %v, want %v", size, got, want)
		}
		next.onlyFlow(t)
		if n := next.maps[bpfMapAddresses].MaxEntries(); n != uint32(size) {
			t.Errorf("size %d, want %d", n, size)
		}
		third := w.again(t, func(o *Options) { o.MaxAddresses, o.MaxFlows = size, size })
		if got := len(third.knownAddrs(t)); got != len(before)+1 || len(third.stale) > 0 {
			t.Errorf("the process after that knows %d addresses", got)
		}
		mustRemove(t, w.opts.Dir)
	}
}

// A lost address would be reached by the WAN.
func TestMapThatHoldsTooMuchToBecomeSmallerStaysAsItIs(t *testing.T) {
	w := ownServedWorld(t)
	mustAttach(t, w.DataPlane, "lan0")
	before := w.knownAddrs(t)
	if len(before) != 20 {
		t.Fatalf("%d addresses are known, the sizes below are for 20", len(before))
	}
	for size, want := range map[int]int{4: w.opts.MaxAddresses, 39: w.opts.MaxAddresses, 40: 40} {
		var log bytes.Buffer
		next := w.again(t, func(o *Options) { o.MaxAddresses, o.Log = size, slog.New(slog.NewTextHandler(&log, nil)) })
		if got := next.MaxAddresses(); got != want {
			t.Errorf("asked for %d: room for %d addresses, want %d", size, got, want)
		}
		if got := next.knownAddrs(t); !slices.Equal(got, before) {
			t.Errorf("asked for %d: known %v, want %v", size, got, before)
		}
		if told := strings.Contains(log.String(), "map=addresses"); told != (want != size) {
			t.Errorf("asked for %d: log %q", size, log.String())
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A process that ends between Open and Attach leaves the programs that run, and
// those that come after it, the maps as they were.
func TestOpenAloneChangesNothing(t *testing.T) {
	w := ownServedWorld(t)
	mustAttach(t, w.DataPlane, "lan0")
	before := w.knownAddrs(t)
	if err := w.again(t, func(o *Options) { o.MaxAddresses = 4 }).Close(); err != nil {
		t.Fatal(err)
	}
	next := w.again(t)
	if got := next.knownAddrs(t); !slices.Equal(got, before) {
		t.Errorf("known %v, before %v", got, before)
	}
}

func TestOpenRebuildsMapsOfAnotherVersion(t *testing.T) {
	w := ownServedWorld(t)
	mustAttach(t, w.DataPlane, "lan0")
	if err := w.setConfig(func(c *bpfRdConfig) { c.Abi = abi + 1 }); err != nil {
		t.Fatal(err)
	}
	next := w.again(t)
	if next.Adopted() || next.seed == w.seed || len(next.knownAddrs(t)) > 0 {
		t.Errorf("adopted %t, seed %x, %d addresses", next.Adopted(), next.seed, len(next.knownAddrs(t)))
	}
	mustSet(t, next, &Tables{})
	mustAttach(t, next, "lan0")
	if third := w.again(t); !third.Adopted() || third.seed != next.seed {
		t.Errorf("adopted %t, seed %x, want %x", third.Adopted(), third.seed, next.seed)
	}
}

func TestOpenReplacesAMapOfAnotherLayout(t *testing.T) {
	w := ownServedWorld(t)
	foreign, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if err := repin(foreign, w.pin(bpfMapAddresses)); err != nil {
		t.Fatal(err)
	}
	next := w.again(t)
	if got := next.knownAddrs(t); len(got) > 0 || !next.Adopted() {
		t.Errorf("known %v, adopted %t", got, next.Adopted())
	}
	mustAttach(t, next, "lan0")
	m, err := ebpf.LoadPinnedMap(w.pin(bpfMapAddresses), nil)
	if err != nil || m.KeySize() != 16 {
		t.Fatalf("pinned map %v, %v", m, err)
	}
	m.Close()
}

func TestOpenMendsHalfDeletedPins(t *testing.T) {
	w := ownServedWorld(t)
	mustAttach(t, w.DataPlane, "lan0", "wan0")
	pins, err := os.ReadDir(w.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, pin := range pins {
		// The table of tail calls has another name in each process.
		if err := os.Remove(filepath.Join(w.opts.Dir, pin.Name())); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		next := &world{DataPlane: w.again(t), ns: w.ns, lan: w.lan, wan: w.wan}
		next.tables = next.rules(t)
		mustSet(t, next.DataPlane, next.tables)
		mustAttach(t, next.DataPlane, "lan0", "wan0")
		next.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
		next.goes(t, "without pin "+pin.Name(), to("198.51.100.1"), tunnelA)
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDestinationsKeepTheirNumbersInTheNextProcess(t *testing.T) {
	w := ownWorld(t)
	dests, err := w.again(t).Destinations([]string{"new", "closed", "open"})
	if err != nil || dests["closed"] != w.dest["closed"] || dests["open"] != w.dest["open"] {
		t.Errorf("destinations %v, before %v, %v", dests, w.dest, err)
	}
	for name, n := range w.dest {
		if dests["new"] == n {
			t.Errorf("the new destination has the number of %s", name)
		}
	}
}

func TestTunnelsHaveNumbersOfTheirOwn(t *testing.T) {
	d := newPlane(t)
	if _, err := d.Destinations([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	paths, err := d.Paths([]string{"a", "x"}, owned.PathTunnel0+2)
	if err != nil || paths["a"] == paths["x"] || min(paths["a"], paths["x"]) != owned.PathTunnel0 {
		t.Errorf("paths %v, %v", paths, err)
	}
	if _, err := d.Paths([]string{"y"}, owned.PathTunnel0+2); err == nil {
		t.Error("a third tunnel found room among two")
	}
}

func TestNumbersStayAndAreReleased(t *testing.T) {
	d := newPlane(t)
	first, err := d.Destinations([]string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.release(numberDestination, "b"); err != nil {
		t.Fatal(err)
	}
	second, err := d.Destinations([]string{"d", "c", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if second["a"] != first["a"] || second["c"] != first["c"] || second["d"] != first["b"] {
		t.Errorf("numbers %v, before %v", second, first)
	}
}

func TestOpenRefusesADirectoryThatCannotBe(t *testing.T) {
	o := testOptions(t)
	o.Dir = "/proc/routerd"
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "/proc/routerd") {
		t.Errorf("error %v, want one that names the directory", err)
	}
}

// Nothing beside the directory of the pins is hidden by a mount.
func TestBPFFileSystemIsMountedOnThePinsAlone(t *testing.T) {
	enterNetns(t)
	base := t.TempDir()
	keep := filepath.Join(base, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t)
	o.Dir = filepath.Join(base, "run", "bpf")
	t.Cleanup(func() { Remove(o.Dir) })
	d := mustOpen(t, o)
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
	if on, err := onBPF(o.Dir); err != nil || !on {
		t.Errorf("on a BPF file system: %t, %v", on, err)
	}
	if on, err := onBPF(filepath.Dir(o.Dir)); err != nil || on {
		t.Errorf("the directory above is on it too: %t, %v", on, err)
	}
	d.Close()
	mustRemove(t, o.Dir)
	if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
		t.Errorf("the directory is left: %v", err)
	}
}

func TestSetSlotRefusesAPathThatNoMarkHolds(t *testing.T) {
	enterNetns(t)
	o := testOptions(t)
	o.Mask = 0x700
	d := mustOpen(t, o)
	if err := d.SetSlot(1, Slot{Path: 7}); err != nil {
		t.Error(err)
	}
	if err := d.SetSlot(1, Slot{Path: 8}); err == nil {
		t.Error("path 8 would be marked as none")
	}
	if err := d.SetSlot(MaxDestinations, Slot{}); err == nil {
		t.Error("a destination beyond the last has a slot")
	}
}

func TestOtherMasks(t *testing.T) {
	w := openWorld(t, func(o *Options) { o.Mask = 0x000000f0 })
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	got := w.run(t, bpfProgRouterdSteer, to("198.51.100.1").build(), via{in: w.lan, out: w.lan, mark: 0xabcdef12})
	if want := uint32(0xabcdef02) | uint32(tunnelA)<<4; got.mark != want {
		t.Errorf("mark %#x, want %#x", got.mark, want)
	}
}

// attachNow attaches as if devices were looked for at this moment.
func attachNow(d *DataPlane, lan, wan []string, own bool) error {
	newest, err := NewestDevice()
	if err != nil {
		return err
	}
	return d.Attach(lan, wan, own, newest)
}

func mustAttach(t testing.TB, d *DataPlane, lan string, wan ...string) {
	t.Helper()
	if err := attachNow(d, []string{lan}, wan, true); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t testing.TB, dir string) {
	t.Helper()
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
}
