package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/google/go-cmp/cmp"
)

// lent is the data plane that tests share, one after the other: to have its programs
// verified takes seconds on a small processor, and to empty its maps next to nothing.
// It has no pins and is never attached; a test that is about those opens its own.
var lent struct {
	*DataPlane
	to testing.TB // the test that has it; it may take it again, for its next case
}

// borrowPlane gives the shared data plane as Open gives a new one. What the caller
// had of it before is over.
func borrowPlane(t testing.TB) *DataPlane {
	t.Helper()
	if lent.to != nil && lent.to != t {
		t.Fatalf("%s uses the shared data plane still: one of the two needs one of its own (ownWorld)", lent.to.Name())
	}
	if lent.DataPlane == nil {
		o := testOptions(t)
		d, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		// Its maps and programs are held by this process alone, which does not close
		// them before its end. To attach it, or to adopt it, is an error.
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
		d.opts.Dir = ""
		lent.DataPlane = d
	}
	if lent.to == nil {
		lent.to = t
		t.Cleanup(func() { lent.to = nil })
	}
	if err := lent.empty(); err != nil {
		t.Fatal(err)
	}
	return lent.DataPlane
}

// empty leaves of the data plane what a new one has: programs, and maps without
// entries, with a seed of its own. What the programs write before they read it, the
// scratch area, stays.
func (d *DataPlane) empty() error {
	for name, m := range d.maps {
		var err error
		switch m.Type() {
		case ebpf.ProgramArray:
		case ebpf.RingBuf:
			err = drain(m)
		case ebpf.ArrayOfMaps:
			err = unlessGone(m.Delete(uint32(0)))
		case ebpf.Array:
			err = zero(m)
		case ebpf.PerCPUArray:
			if name != bpfMapScratch {
				err = zeroEach(m)
			}
		default:
			err = deleteAll(m)
		}
		if err != nil {
			return fmt.Errorf("empty map %s: %w", name, err)
		}
	}
	d.forgetNamesMap()
	d.names = namesPrint{}
	return d.configure(false)
}

func drain(m *ebpf.Map) error {
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return err
	}
	defer r.Close()
	r.SetDeadline(time.Now().Add(-time.Second))
	for {
		if _, err := r.Read(); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// zero writes zeros to a whole array in one call.
func zero(m *ebpf.Map) error {
	n := int(m.MaxEntries())
	indexes := make([]uint32, n)
	for i := range indexes {
		indexes[i] = uint32(i)
	}
	value := reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]())
	_, err := m.BatchUpdate(indexes, reflect.MakeSlice(reflect.SliceOf(value), n, n).Interface(), nil)
	return err
}

// zeroEach does the same for an array that each processor has, entry by entry.
func zeroEach(m *ebpf.Map) error {
	values := make([][]byte, ebpf.MustPossibleCPU())
	for i := range values {
		values[i] = make([]byte, m.ValueSize())
	}
	for i := range m.MaxEntries() {
		if err := m.Put(i, values); err != nil {
			return err
		}
	}
	return nil
}

func deleteAll(m *ebpf.Map) error {
	key := make([]byte, m.KeySize())
	for {
		err := m.NextKey(nil, &key)
		if err == nil {
			err = m.Delete(key)
		}
		if err != nil {
			return unlessGone(err)
		}
	}
}

func unlessGone(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

func TestTheSharedDataPlaneIsAsGoodAsNew(t *testing.T) {
	fresh := mustOpen(t, testOptions(t)).everything(t)
	w := servedWorld(t)
	w.soil(t)
	for name, got := range w.everything(t) {
		if cmp.Equal(got, fresh[name]) {
			t.Errorf("%s: nothing was changed, the test says nothing of it", name)
		}
	}
	before := w.seed
	d := borrowPlane(t)
	diff(t, d.everything(t), fresh)
	if d.seed == before {
		t.Error("it has the seed that it had")
	}
	if names, err := d.namesMap(); names != nil || err != nil {
		t.Errorf("a map of names is there: %v, %v", names, err)
	}
	if got := pending(t, openEvents(t, d)); len(got) > 0 {
		t.Errorf("events %+v", got)
	}
}

// soil writes to every map what no test may find.
func (w *world) soil(t *testing.T) {
	t.Helper()
	for name, m := range w.maps {
		key, value := bytes.Repeat([]byte{1}, int(m.KeySize())), bytes.Repeat([]byte{1}, int(m.ValueSize()))
		switch m.Type() {
		case ebpf.ProgramArray, ebpf.RingBuf, ebpf.ArrayOfMaps, ebpf.PerCPUArray, ebpf.PerCPUHash:
			continue // written to by what follows
		case ebpf.Array:
			key = binary.NativeEndian.AppendUint32(nil, m.MaxEntries()-1)
		case ebpf.LPMTrie:
			key = binary.NativeEndian.AppendUint32(nil, 77)
			key = append(key, make([]byte, int(m.KeySize())-len(key))...)
		}
		if name == bpfMapConfig {
			continue // without it programs do nothing
		}
		if err := m.Put(key, value); err != nil {
			t.Fatalf("map %s: %v", name, err)
		}
	}
	w.goes(t, "SYN", to("198.51.100.1"), tunnelA)
	w.comes(t, back(to("198.51.100.1"), flags(syn|ack)))
}

// everything is what the maps hold, but for the seed, which is never the same.
func (d *DataPlane) everything(t *testing.T) map[string]any {
	t.Helper()
	out := map[string]any{}
	keep := func(name string, v any, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = v
	}
	stats, err := d.Stats()
	keep(bpfMapStats, stats, err)
	counts, err := d.Counts()
	keep(bpfMapCounters, counts, err)
	health, err := d.Health()
	keep(bpfMapHealth, health, err)
	for name, m := range d.maps {
		switch m.Type() {
		case ebpf.ProgramArray, ebpf.RingBuf, ebpf.ArrayOfMaps, ebpf.PerCPUArray, ebpf.PerCPUHash:
			continue
		}
		held := map[string]string{}
		var key, value []byte
		it := m.Iterate()
		for it.Next(&key, &value) {
			held[string(key)] = string(value)
		}
		if name == bpfMapConfig { // begins with the seed
			for k, v := range held {
				held[k] = v[8:]
			}
		}
		keep(name, held, it.Err())
	}
	return out
}
