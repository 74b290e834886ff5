package netcfg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// A flowtable (nft(8), "FLOWTABLES") forwards the packets of connections that are
// in it at the ingress of its devices, past routing, rules and every chain. What
// hangs at tc still sees them: ingress runs before it, egress behind it
// (__netif_receive_skb_core and __dev_queue_xmit of net/core/dev.c). Its devices
// are those of layer 3 that our programs hang at, never a bridge's ports: the
// kernel then sends by these devices, too (nft_dev_forward_path).

// What makes and fills the flowtable. The chain comes behind everybody's, so that
// what is forwarded past them is what they accept.
const (
	flowtableName = "fast"
	chainFast     = "fast" // picks clients' established connections
	chainTake     = "take" // puts those into the flowtable that leave by a device of ours

	fastPriority nftables.ChainPriority = 300
)

// whyOff is why there is none where it is not wanted.
const whyOff = "option flow_offload is off"

func fastChains() []chainSpec {
	return []chainSpec{
		{name: chainTake},
		{chainFast, nftables.ChainTypeFilter, nftables.ChainHookForward, fastPriority},
	}
}

// isFastChain says whether a chain of our table is one that Offload makes.
func isFastChain(name string) bool { return name == chainFast || name == chainTake }

// fastState is the flowtable, its chains and rules: wanted, or in the kernel.
type fastState struct {
	table   bool     // the flowtable is there
	devices []string // in order of their names
	rules   []nftRule
}

// wantedFast is what Offload makes; without devices there is nothing to make.
func wantedFast(d Desired, links linkTable) (fastState, error) {
	there := func(name string) bool { return name != "" && links[name].index != 0 }
	rs := &nftRules{}
	var from, to []string
	for _, lan := range d.LAN {
		if there(lan) {
			from = append(from, lan)
			// The kernel itself takes TCP, UDP and GRE only, no connection with a
			// helper and none that ends. GRE is nobody's download.
			rs.add(chainFast, "from "+lan, iif(lan), ctState(expr.CtStateBitESTABLISHED), notGRE(), jump(chainTake))
		}
	}
	for _, wan := range d.WAN {
		if there(wan) {
			to = append(to, wan)
			rs.add(chainTake, "direct: by "+wan, oif(wan), markIs(d.Mask, 0), flowAdd())
		}
	}
	for _, p := range d.Paths {
		if there(p.Device) {
			to = append(to, p.Device)
			// The way back is looked up with the packet's mark (nft_flow_route): our
			// path's table knows none to the client. From here on it says nothing.
			rs.add(chainTake, p.Name+": by "+p.Device, oif(p.Device),
				markIs(d.Mask, d.Mask.Mark(p.Index)), setMark(d.Mask, 0), flowAdd())
		}
	}
	if min(len(from), len(to)) == 0 {
		return fastState{}, rs.err
	}
	devices := slices.Concat(from, to)
	slices.Sort(devices)
	return fastState{table: true, devices: slices.Compact(devices), rules: rs.list}, rs.err
}

// carrier names a device that carries a VLAN of another of them: it would take that
// one's packets ahead of the programs there.
func (t linkTable) carrier(devices []string) string {
	for _, name := range devices {
		for _, below := range devices {
			if c := t[name].carrier; c != 0 && c == t[below].index {
				return below
			}
		}
	}
	return ""
}

func notGRE() []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO), neq([]byte{unix.IPPROTO_GRE})}
}

func flowAdd() []expr.Any { return []expr.Any{&expr.FlowOffload{Name: flowtableName}} }

// fastHave is what the kernel has.
type fastHave struct {
	table   bool // table inet routerd
	chains  map[string]rawChain
	rules   []rawRule
	flow    *rawFlowtable
	foreign string // why ours must not be; "": nothing speaks against it
}

// is says whether the kernel has just what is wanted.
func (h *fastHave) is(w fastState) bool {
	if !w.table {
		return h.flow == nil && len(h.chains) == 0
	}
	if h.flow == nil || !slices.Equal(h.flow.devices, w.devices) {
		return false
	}
	for _, s := range fastChains() {
		c, ok := h.chains[s.name]
		if !ok || !s.is(c) || !slices.Equal(h.comments(s.name), w.comments(s.name)) {
			return false
		}
	}
	return true
}

// comments are those of a chain's rules, in order: they tell rules apart.
func (h *fastHave) comments(chain string) (out []string) {
	for _, r := range h.rules {
		if r.chain == chain {
			out = append(out, r.comment)
		}
	}
	return out
}

// comments are those that a chain's rules shall have.
func (w fastState) comments(chain string) (out []string) {
	for _, r := range w.rules {
		if r.chain == chain {
			out = append(out, r.comment())
		}
	}
	return out
}

// readFast lists what there is of the flowtable, and what others have.
func readFast() (*fastHave, error) {
	h := &fastHave{chains: map[string]rawChain{}}
	chains, err := listChains()
	if err != nil {
		return nil, err
	}
	hooks := map[string]int{}
	for _, c := range chains {
		hooks[c.table+" "+c.name] = c.hook
		if c.is(owned.NFTable) {
			h.table = true
			if isFastChain(c.name) {
				h.chains[c.name] = c
			}
		}
	}
	if err := h.readRules(hooks); err != nil {
		return nil, err
	}
	if h.foreign == "" && (legacyTable(IPv4, tableMangle) || legacyTable(IPv6, tableMangle)) {
		h.foreign = "iptables has a table mangle, which may change packets"
	}
	return h, h.readFlowtables()
}

// readRules keeps ours, and what is against it of those of others that concern
// forwarded packets; hooks are the chains' by table and name.
func (h *fastHave) readRules(hooks map[string]int) error {
	rules, err := listRules("", "")
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.ours() {
			h.rules = append(h.rules, r)
		} else if h.foreign == "" && !localHook(hooks[r.table+" "+r.chain]) {
			h.foreign = r.obstacle()
		}
	}
	return nil
}

func (h *fastHave) readFlowtables() error {
	flowtables, err := listFlowtables()
	if err != nil {
		return err
	}
	for _, f := range flowtables {
		if f.ours() {
			h.flow = &f
		} else {
			h.foreign = fmt.Sprintf("flowtable %s of table %s does it: the firewall's own flow offload is on", f.name, f.table)
		}
	}
	return nil
}

func localHook(hook int) bool {
	return hook == int(*nftables.ChainHookInput) || hook == int(*nftables.ChainHookOutput)
}

// remakeFast queues the removal of what there is and the making of what is
// wanted. Everything that was in a flowtable goes its usual way then: that is how
// it is flushed, too.
func remakeFast(conn *nftables.Conn, h *fastHave, w fastState) {
	table := ownTable()
	flow := &nftables.Flowtable{Table: table, Name: flowtableName, Devices: w.devices, Flags: nftables.FlowtableFlagsCounter}
	for _, s := range slices.Backward(fastChains()) {
		if _, ok := h.chains[s.name]; ok {
			conn.FlushChain(&nftables.Chain{Name: s.name, Table: table})
		}
	}
	for name := range h.chains {
		conn.DelChain(&nftables.Chain{Name: name, Table: table})
	}
	if h.flow != nil {
		conn.DelFlowtable(flow)
	}
	if !w.table {
		return
	}
	conn.AddFlowtable(flow)
	b := &nftBatch{conn: conn, table: table}
	for _, s := range fastChains() {
		b.chain(s, nil)
	}
	for _, r := range w.rules {
		b.insert(&nftables.Chain{Name: r.chain, Table: table}, placedRule{nftRule: r})
	}
}

// offload makes the flowtable what d says. Why it is not is no error.
func (f *nftFirewall) offload(d Desired) (why string, err error) {
	var w fastState
	// A device that has just gone gives the same error as a kernel that lacks all
	// of it, which then looks for a module each time.
	for range 2 {
		var h *fastHave
		if h, w, why, err = f.planFast(d); err != nil {
			return "", err
		}
		if !h.is(w) {
			err = f.commitFast(h, w)
		}
		if err == nil || !raced(err) {
			break
		}
	}
	switch {
	case err == nil:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fast = w
		return why, nil
	case lacksFlowtables(err):
		return "this kernel has no flowtables (package kmod-nft-offload)", nil
	}
	return "", fmt.Errorf("apply flowtable: %w", err)
}

// planFast reads what there is and says what shall be, or why there shall be
// nothing.
func (f *nftFirewall) planFast(d Desired) (h *fastHave, w fastState, why string, err error) {
	links, err := listLinks()
	if err != nil {
		return nil, w, "", err
	}
	if h, err = readFast(); err != nil {
		return nil, w, "", err
	}
	switch {
	case !d.Offload:
		why = whyOff
	case h.foreign != "":
		why = h.foreign
	case !h.table:
		why = "there is no table inet " + owned.NFTable
	default:
		if w, err = wantedFast(d, links); err == nil && !w.table {
			why = "there are no two devices to forward between"
		}
		if below := links.carrier(w.devices); below != "" {
			w, why = fastState{}, "device "+below+" carries another of the devices"
		}
	}
	return h, w, why, err
}

func (f *nftFirewall) commitFast(h *fastHave, w fastState) error {
	conn, err := f.open()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	remakeFast(conn, h, w)
	return conn.Flush()
}

// flushFast puts every connection back on its usual way, and says whether any
// could be on another.
func (f *nftFirewall) flushFast() (bool, error) {
	f.mu.Lock()
	w := f.fast
	f.mu.Unlock()
	if !w.table {
		return false, nil
	}
	h, err := readFast()
	if err != nil || h.flow == nil {
		return false, err
	}
	return true, f.commitFast(h, w)
}

// lacksFlowtables says whether an error means that the kernel has no flowtables,
// or no expression that fills them.
func lacksFlowtables(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

// Offload lets the kernel forward clients' established connections past routing,
// rules and chains, as far as d says so. It comes after Apply, and once the
// programs of all devices of d are in place: they see these packets, too, and
// nothing else does. It gives the reason why nothing is forwarded so, "" where it
// is; what stands in the way is no error.
func (n *Net) Offload(ctx context.Context, d Desired) (why string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fw.offload(d)
}

// FlushOffload puts all connections that are forwarded past the rules back on
// their usual way, where the rules judge their next packets; what they accept is
// forwarded past them again from then on.
func (n *Net) FlushOffload(ctx context.Context) error {
	_, err := n.flushOffload(ctx)
	return err
}

func (n *Net) flushOffload(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	flushed, err := n.fw.flushFast()
	if err != nil {
		return false, fmt.Errorf("flush flowtable: %w", err)
	}
	return flushed, nil
}

// ours says whether a rule is one of routerd's.
func (r rawRule) ours() bool {
	return r.table == owned.NFTable && r.family == byte(nftables.TableFamilyINet) ||
		strings.HasPrefix(r.comment, owned.Comment) || isOurChain(r.chain)
}
