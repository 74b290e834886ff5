package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
)

// readAgain is how long the reader waits after an error.
const readAgain = time.Second

// reader passes the data plane's events to the loop.
type reader struct {
	events *ebpf.Events
	stop   chan struct{} // closed to end its goroutine
	done   chan struct{} // closed when its goroutine has ended
}

// planeOptions are those that a data plane cannot change while it is open.
type planeOptions struct {
	mask         owned.Mask
	maxAddresses int
}

// openDataPlane opens the data plane, or opens it anew where an option that it
// is made with has changed. Handlers wait meanwhile.
func (d *daemon) openDataPlane(s *settings) error {
	want := planeOptions{s.cfg.Main.MarkMask, s.cfg.Main.MaxAddresses}
	if d.dp != nil && d.opened == want {
		return nil
	}
	d.planeMu.Lock()
	defer d.planeMu.Unlock()
	d.releasePlane()
	d.compilePrograms()
	// Programs at work mark by another mask from Open on.
	if err := d.net.Announce(want.mask); err != nil {
		return fmt.Errorf("announce marks: %w", err)
	}
	claim, err := ebpf.Claim(d.o.BPFDir)
	if err != nil {
		return fmt.Errorf("open data plane: %w", err)
	}
	dp, err := ebpf.Open(ebpf.Options{Dir: d.o.BPFDir, Mask: want.mask, MaxAddresses: want.maxAddresses, Log: d.log})
	if err != nil {
		return errors.Join(fmt.Errorf("open data plane: %w", err), claim.Close())
	}
	events, err := dp.Events()
	if err != nil {
		return errors.Join(err, dp.Close(), claim.Close())
	}
	r := &reader{events: events, stop: make(chan struct{}), done: make(chan struct{})}
	go d.read(r) // ends with releasePlane
	d.dp, d.reader, d.opened, d.claim = dp, r, want, claim
	d.set(func(v *view) { v.full = false }) // of another size: the next answer without room tells
	return nil
}

// compilePrograms turns the kernel's JIT on where it is off. Without it programs
// are interpreted, which works too.
func (d *daemon) compilePrograms() {
	changed, err := ebpf.TurnOnJIT(ebpf.JITFile)
	d.warn("turn on the BPF JIT", err)
	if changed {
		d.log.Info("the BPF JIT was off, it is on now", "setting", "net.core.bpf_jit_enable=1")
	}
}

// closeDataPlane lets go of the data plane, once no handler uses it any more.
func (d *daemon) closeDataPlane() {
	d.planeMu.Lock()
	defer d.planeMu.Unlock()
	d.releasePlane()
}

// releasePlane is called with planeMu held.
func (d *daemon) releasePlane() {
	if d.dp == nil {
		return
	}
	close(d.reader.stop)
	d.warn("close ring of events", d.reader.events.Close())
	<-d.reader.done
	d.warn("close data plane", errors.Join(d.dp.Close(), d.claim.Close()))
	d.dp, d.reader, d.claim = nil, nil, nil
}

// plane is the open data plane for a handler, nil while there is none. It stays
// open until done is called.
func (d *daemon) plane() (dp *ebpf.DataPlane, done func()) {
	d.planeMu.RLock()
	return d.dp, d.planeMu.RUnlock
}

// read runs in a goroutine of its own. When the loop is behind, events are
// dropped: they only inform, and catchUp makes up for them.
func (d *daemon) read(r *reader) {
	defer close(r.done)
	for {
		ev, err := r.events.Next()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			d.log.Warn("cannot read events", "error", err)
			d.dropped.Add(1)
			select {
			case <-r.stop:
				return
			case <-time.After(readAgain):
				continue
			}
		}
		d.note(ev)
		d.pass(ev)
	}
}

// note remembers what only informs people.
func (d *daemon) note(ev ebpf.Event) {
	switch ev.Kind {
	case ebpf.EventShared:
		d.sharers.add(ev.Name, ev.Addrs)
	case ebpf.EventDoT, ebpf.EventDoH:
		d.bypasses.add(ev)
	default:
		d.names.add(ev.Name, ev.Addrs)
	}
}

// ruleKey names a rule over names as learned entries do.
type ruleKey struct {
	hash uint64
	full bool
}

// noRule stands in the place of an index for a name that the data plane knows and
// the plan does not.
const noRule = -1

// rulesByHash finds the plan's rules over names by the hash that learned entries
// name them by: indexes of plan.Names, or noRule for canaries.
func rulesByHash(dp *ebpf.DataPlane, s *settings) map[uint64]int32 {
	p := s.plan
	out := make(map[uint64]int32, len(p.Names)+len(s.canaries))
	for name := range s.canaries {
		if hash, err := dp.Hash(name); err == nil {
			out[hash] = noRule
		}
	}
	for i, r := range p.Names {
		hash, err := dp.Hash(r.Name)
		if err != nil {
			continue // SetTables tells of it
		}
		out[hash] = int32(i)
	}
	return out
}

// ruled are rules over names that were in force.
type ruled struct {
	rules    map[uint64]int32 // as rulesByHash gives them
	settings *settings        // nil: none were
}

// moved finds the wider rule of s that lists what a rule listed, both by hash; 0 where
// there is none.
func (r *ruled) moved(dp *ebpf.DataPlane, s *settings, rule uint64) uint64 {
	i, ok := r.rules[rule]
	if !ok || i == noRule {
		return 0
	}
	_, wider, ok := s.plan.Rules.Name(r.settings.plan.Names[i].Name)
	if !ok {
		return 0
	}
	hash, err := dp.Hash(wider.Name)
	if err != nil {
		return 0 // SetTables tells of it
	}
	return hash
}

// rule is a rule with its chain, false where the settings have none such. Where a full
// rule is gone, it is the suffix rule of the name.
func (v *view) rule(k ruleKey) (steer.Chain, catalogue.Rule, bool) {
	i, ok := v.rules[k.hash]
	if !ok || i == noRule {
		return nil, catalogue.Rule{}, false
	}
	r := &v.settings.plan.Names[i]
	if k.full && len(r.Full) > 0 {
		return r.Full, catalogue.Rule{Kind: catalogue.RuleFull, Name: r.Name}, true
	}
	return r.Suffix, catalogue.Rule{Kind: catalogue.RuleSuffix, Name: r.Name}, len(r.Suffix) > 0
}
