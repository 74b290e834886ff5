package interfere

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/lab/authority"
)

// Config says where a controller is and what it needs to know of the lab.
type Config struct {
	// Provider: in isp, not at the service's side in net.
	Provider bool
	// Prefix begins each ID, so that hosts' IDs differ.
	Prefix string
	// Resolver is address:port of the provider's resolver.
	Resolver string
	// BlockPage are the addresses of the block page, IPv4 first, and
	// BlockPageName its host name.
	BlockPage     []netip.Addr
	BlockPageName string
	// StatusDir is where net's servers look for what to answer.
	StatusDir string
}

// hits counts what an interference has touched.
type hits struct{ n atomic.Uint64 }

func (h *hits) add(n uint64) { h.n.Add(n) }

// active is one interference that goes on.
type active struct {
	x      Interference
	number int // of its queue and class
	hits   hits
	undo   []func() error // the last is done first
}

// onUndo adds a step of undoing it.
func (a *active) onUndo(step func() error) { a.undo = append(a.undo, step) }

// stop undoes everything, also when a step fails.
func (a *active) stop() error {
	var failed []error
	for _, step := range slices.Backward(a.undo) {
		failed = append(failed, step())
	}
	a.undo = nil
	return errors.Join(failed...)
}

// controller switches interference on and off inside one host.
type controller struct {
	c      Config
	ctx    context.Context // of the host's life
	forger *forger
	proxy  *proxy
	raw    *rawSender

	mu        sync.Mutex // guards what follows
	all       []*active
	last      int
	rates     int // how many limit the rate
	takeovers int // how many may take connections over
}

// newController starts what always runs in the host.
func newController(ctx context.Context, c Config) (*controller, error) {
	k := &controller{c: c, ctx: ctx}
	if !c.Provider {
		return k, nil
	}
	impostor, err := authority.New("Provider Inspection Authority") // nobody trusts it
	if err != nil {
		return nil, err
	}
	if k.raw, err = openRawSender(); err != nil {
		return nil, err
	}
	k.forger = &forger{upstream: c.Resolver}
	k.proxy = &proxy{impostor: impostor, page: c.BlockPageName, open: map[net.Conn]*proxyRule{}}
	for _, serve := range []func() error{
		func() error { return k.forger.listen(ctx) },
		func() error { return k.proxy.listen(ctx) },
		func() error { return serveBlockPage(ctx, impostor, c.BlockPageName, c.BlockPage) },
	} {
		if err := serve(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// add begins an interference; when it fails nothing has changed.
func (k *controller) add(x Interference) (Interference, error) {
	if err := x.Complete(); err != nil {
		return x, err
	}
	if info, _ := InfoOf(x.Kind); info.Service == k.c.Provider {
		return x, fmt.Errorf("%s is not done here: it needs another host", x.Kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	x.ID = k.c.Prefix + strconv.Itoa(k.last)
	a := &active{x: x, number: k.last}
	if err := k.begin(a); err != nil {
		return x, errors.Join(fmt.Errorf("begin %s: %w", x.Kind, err), a.stop())
	}
	k.all = append(k.all, a)
	return x, nil
}

// begin does what an interference needs, programs before the packets that come
// to them.
func (k *controller) begin(a *active) error {
	if err := k.beginServices(a); err != nil {
		return err
	}
	rules := rulesOf(a.x, a.number)
	if rules.empty() {
		return nil
	}
	q, err := k.beginQueue(a, rules)
	if err != nil {
		return err
	}
	if err := k.nft(rules.script(a.x)); err != nil {
		return err
	}
	a.onUndo(func() error { return k.dropTables(a, rules) })
	if q != nil {
		return q.sendTo(table(a.x.ID))
	}
	return nil
}

// beginServices are the parts that are no packet filter.
func (k *controller) beginServices(a *active) error {
	switch a.x.Kind {
	case DNSForge, DNSRedirect:
		return k.beginForgery(a)
	case TLSCert, HTTPBlockPage:
		return k.beginProxy(a)
	case Rate:
		return k.beginRate(a)
	case ServiceStatus, ServiceReject:
		return k.beginStatus(a)
	}
	return nil
}

func (k *controller) blockPage() (four, six netip.Addr) {
	for _, a := range k.c.BlockPage {
		if a.Is4() {
			four = a
		} else {
			six = a
		}
	}
	return four, six
}

// haveTable has isp deliver to itself the packets of TCP connections that its
// programs took over, on both of their sides. It lasts as long as any
// interference may have such connections.
const haveTable = "lab-have"

func (k *controller) beginTakeover(a *active) error {
	k.takeovers++
	a.onUndo(func() error {
		if k.takeovers--; k.takeovers > 0 {
			return nil
		}
		return k.nft("delete table inet " + haveTable)
	})
	if k.takeovers > 1 {
		return nil
	}
	return k.nft(fmt.Sprintf(`table inet %s {
	chain have {
		type filter hook prerouting priority -151; policy accept;
		meta l4proto tcp socket transparent 1 meta mark set %#x
	}
}
`, haveTable, DeliverMark))
}

func (k *controller) beginProxy(a *active) error {
	if err := k.beginTakeover(a); err != nil {
		return err
	}
	r := &proxyRule{x: a.x, hits: &a.hits}
	k.proxy.add(r)
	a.onUndo(func() error { k.proxy.remove(r); return nil })
	return nil
}

func (k *controller) beginForgery(a *active) error {
	if err := k.beginTakeover(a); err != nil {
		return err
	}
	answers, err := a.x.answers(k.blockPage())
	if err != nil {
		return err
	}
	f := &forgery{x: a.x, answers: answers, hits: &a.hits}
	k.forger.add(f)
	a.onUndo(func() error { k.forger.remove(f); return nil })
	return nil
}

func (k *controller) beginRate(a *active) error {
	k.rates++
	a.onUndo(func() error {
		k.rates--
		return k.tc(unrateCommands(a.number, k.rates == 0))
	})
	return k.tc(rateCommands(a.number, a.x.Kbit, k.rates == 1))
}

// beginQueue gives an interference that looks into packets a queue; nil if it
// does not.
func (k *controller) beginQueue(a *active, rules ruleset) (*queue, error) {
	if !rules.looks() {
		return nil, nil
	}
	q, err := openQueue(uint16(a.number))
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	worker := k.worker(a, q)
	go func() { defer close(ended); q.run(worker.each) }()
	a.onUndo(func() error {
		worker.release()
		err := q.close()
		<-ended
		return err
	})
	return q, nil
}

// dropTables takes an interference's rules away, and what the kernel remembers
// of connections that it silenced.
func (k *controller) dropTables(a *active, rules ruleset) error {
	script := "delete table inet " + table(a.x.ID)
	if rules.arp {
		script += "\ndelete table arp " + table(a.x.ID)
	}
	err := k.nft(script)
	mark := cutMark(a.number)
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if _, e := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, marked(mark)); e != nil {
			err = errors.Join(err, fmt.Errorf("forget silenced connections: %w", e))
		}
	}
	return err
}

// marked finds connections by their mark.
type marked uint32

// MatchConntrackFlow says whether a connection has the mark.
func (m marked) MatchConntrackFlow(f *netlink.ConntrackFlow) bool { return f.Mark == uint32(m) }

// remove ends an interference by ID, or all of a kind, or all for "". Ending
// what is not there is no error.
func (k *controller) remove(what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var failed []error
	k.all = slices.DeleteFunc(k.all, func(a *active) bool {
		if what != "" && what != a.x.ID && what != string(a.x.Kind) {
			return false
		}
		if err := a.stop(); err != nil {
			failed = append(failed, fmt.Errorf("end %s: %w", a.x.ID, err))
		}
		return true
	})
	return errors.Join(failed...)
}

// list is what goes on, with what it has touched.
func (k *controller) list() ([]Interference, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Interference, 0, len(k.all))
	for _, a := range k.all {
		x := a.x
		x.Hits = a.hits.n.Load()
		if !rulesOf(x, a.number).empty() {
			counted, err := k.counted(x.ID)
			if err != nil {
				return nil, err
			}
			if x.Kind != DNSForge && x.Kind != TLSCert && x.Kind != HTTPBlockPage {
				x.Hits += counted // there the program counts
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// counted reads the counter of an interference's table.
func (k *controller) counted(id string) (uint64, error) {
	out, err := run(k.ctx, "", "nft", "list", "counter", "inet", table(id), "hits")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(out))
	at := slices.Index(fields, "packets")
	if at < 0 || at+1 >= len(fields) {
		return 0, fmt.Errorf("read counter of %s: nft prints %q", id, out)
	}
	n, err := strconv.ParseUint(fields[at+1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read counter of %s: %w", id, err)
	}
	return n, nil
}

func (k *controller) nft(script string) error {
	_, err := run(k.ctx, script, "nft", "-f", "-")
	return err
}

func (k *controller) tc(commands [][]string) error {
	for _, args := range commands {
		if _, err := run(k.ctx, "", "tc", args...); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program of the host with input.
func run(ctx context.Context, input, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(failed.Bytes()))
	}
	return out, nil
}
