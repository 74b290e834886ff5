package netcfg

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"

	"github.com/routerd/routerd/internal/owned"
)

// fw4's table (family inet) and its chains for forwarded packets and for those to
// the router itself.
const (
	fw4Table   = "fw4"
	fw4Forward = "forward"
	fw4Input   = "input"
)

// nftFirewall is the firewall on nftables.
type nftFirewall struct {
	log  *slog.Logger
	open func() (*nftables.Conn, error) // a connection for one batch

	mu sync.Mutex
	// sets are those that Apply made last, by name; guarded by mu.
	sets map[string]ownSet
	// fast is the flowtable that Offload made last; guarded by mu.
	fast fastState
}

// nftHave is the part of the kernel's state that we compare with.
type nftHave struct {
	table   bool
	chains  map[string]rawChain
	rules   map[string][]rawRule
	sets    map[string]ownSet
	fw4     map[string][]rawRule // the rules of those of its chains that are there
	foreign []rawChain           // other base chains on forward that drop by policy
}

// commitTries bounds how often a batch is made anew because somebody changed
// the ruleset between reading and writing.
const commitTries = 4

// apply makes table inet routerd and our rules in fw4 what d says, in one
// atomic batch that holds only the difference.
func (f *nftFirewall) apply(d Desired, links linkTable) (report, error) {
	var err error
	for range commitTries {
		var b *nftBatch
		if b, err = f.plan(d, links); err != nil {
			return report{}, err
		}
		if len(b.changes) > 0 {
			err = b.conn.Flush()
		}
		if err == nil {
			f.remember(d)
			return report{changes: b.changes, warnings: b.warnings}, nil
		}
		if !raced(err) {
			break
		}
	}
	return report{}, fmt.Errorf("apply nftables ruleset: %w", err)
}

// raced says whether an error can come of a ruleset that changed meanwhile.
func raced(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EEXIST) ||
		errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ERESTART)
}

// plan reads the kernel's state and queues what leads from it to d.
func (f *nftFirewall) plan(d Desired, links linkTable) (*nftBatch, error) {
	conn, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	rules, err := buildRules(d, links)
	if err != nil {
		return nil, err
	}
	heads, err := fw4Heads(d)
	if err != nil {
		return nil, err
	}
	have, err := readNFT(conn)
	if err != nil {
		return nil, err
	}
	b := &nftBatch{conn: conn, table: ownTable()}
	if err := b.ruleset(have, rules, ownSets(d)); err != nil {
		return nil, err
	}
	for _, h := range heads {
		if rules, ok := have.fw4[h.chain]; ok {
			b.fw4(h.chain, rules, h.rules)
		}
	}
	for _, c := range have.foreign {
		b.warnings = append(b.warnings, fmt.Sprintf(
			"nftables chain %s of table %s drops forwarded packets by policy; accept what leaves by %s* there",
			c.name, c.table, owned.DevicePrefix))
	}
	return b, nil
}

func ownTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: owned.NFTable}
}

// ownSets are the sets that d asks for.
func ownSets(d Desired) []ownSet {
	var out []ownSet
	for _, o := range d.Own {
		for _, f := range d.families() {
			out = append(out, ownSetSpec(o, f))
		}
	}
	return out
}

func (f *nftFirewall) remember(d Desired) {
	sets := map[string]ownSet{}
	for _, s := range ownSets(d) {
		sets[s.name] = s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sets = sets
}

// readNFT lists what is ours and what concerns us.
func readNFT(conn *nftables.Conn) (*nftHave, error) {
	h := &nftHave{
		chains: map[string]rawChain{}, rules: map[string][]rawRule{}, sets: map[string]ownSet{}, fw4: map[string][]rawRule{},
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range tables {
		h.table = h.table || t.Name == owned.NFTable
	}
	chains, err := listChains()
	if err != nil {
		return nil, err
	}
	for _, c := range chains {
		h.sort(c)
	}
	if err := h.readRules(); err != nil {
		return nil, err
	}
	if !h.table {
		return h, nil
	}
	return h, h.readSets(conn)
}

// sort puts a chain where it belongs.
func (h *nftHave) sort(c rawChain) {
	switch {
	case c.is(owned.NFTable):
		if !isFastChain(c.name) {
			h.chains[c.name] = c
		}
	case c.is(fw4Table) && (c.name == fw4Forward || c.name == fw4Input):
		h.fw4[c.name] = nil
	case c.drops && c.hook == int(*nftables.ChainHookForward) && isIPFamily(c.family):
		h.foreign = append(h.foreign, c)
	}
}

// is says whether a chain stands in that table of family inet.
func (c rawChain) is(table string) bool {
	return c.family == byte(nftables.TableFamilyINet) && c.table == table
}

func (h *nftHave) readRules() error {
	for chain := range h.fw4 {
		rules, err := listRules(fw4Table, chain)
		if err != nil {
			return err
		}
		h.fw4[chain] = rules
	}
	if !h.table {
		return nil
	}
	rules, err := listRules(owned.NFTable, "")
	if err != nil {
		return err
	}
	for _, r := range rules {
		h.rules[r.chain] = append(h.rules[r.chain], r)
	}
	return nil
}

func isIPFamily(f uint8) bool {
	switch nftables.TableFamily(f) {
	case nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6:
		return true
	}
	return false
}

func (h *nftHave) readSets(conn *nftables.Conn) error {
	sets, err := conn.GetSets(ownTable())
	if err != nil {
		return fmt.Errorf("list nftables sets: %w", err)
	}
	for _, s := range sets {
		elems, err := conn.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("list elements of set %s: %w", s.Name, err)
		}
		family := IPv4
		if s.KeyType.Bytes == nftables.TypeIP6Addr.Bytes {
			family = IPv6
		}
		h.sets[s.Name] = ownSet{
			name: s.Name, family: family, interval: s.Interval,
			ranges: decodeElements(elems, s.Interval),
		}
	}
	return nil
}

// own adds and removes learned addresses of a destination. One that Apply made
// no set for is not steered for the router itself: nothing is to be done.
func (f *nftFirewall) own(id uint16, add, remove []netip.Addr) error {
	for _, family := range []Family{IPv4, IPv6} {
		f.mu.Lock()
		set, ok := f.sets[ownSetName(id, family)]
		f.mu.Unlock()
		if !ok {
			continue
		}
		if err := f.change(set, normalise(nil, family.of(add)), normalise(nil, family.of(remove))); err != nil {
			return fmt.Errorf("change set %s: %w", set.name, err)
		}
	}
	return nil
}

// change tries the cheap way first, one batch with no reading. The kernel
// refuses it when an address to add lies in a network of the set, or one to
// remove is not there; then the set is read.
func (f *nftFirewall) change(set ownSet, add, remove []ipRange) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	err := f.commitElements(set, add, remove)
	for range commitTries {
		if err == nil || !raced(err) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		conn, openErr := f.open()
		if openErr != nil {
			return openErr
		}
		elems, readErr := conn.GetSetElements(set.nft(ownTable()))
		if readErr != nil {
			return readErr
		}
		have := decodeElements(elems, set.interval)
		err = f.commitElements(set, outside(missing(add, have), have), present(remove, have))
	}
	return err
}

// outside lists the ranges of a that lie in none of b.
func outside(a, b []ipRange) []ipRange {
	var out []ipRange
next:
	for _, r := range a {
		for _, s := range b {
			if s.from.Compare(r.from) <= 0 && r.to.Compare(s.to) <= 0 {
				continue next
			}
		}
		out = append(out, r)
	}
	return out
}

// present lists the ranges of a that b holds too.
func present(a, b []ipRange) []ipRange { return missing(a, missing(a, b)) }

func (f *nftFirewall) commitElements(set ownSet, add, remove []ipRange) error {
	conn, err := f.open()
	if err != nil {
		return err
	}
	if err := set.queueElements(ownTable(), remove, conn.SetDeleteElements); err != nil {
		return err
	}
	if err := set.queueElements(ownTable(), add, conn.SetAddElements); err != nil {
		return err
	}
	return conn.Flush()
}

// devices names the devices that rules of ours mention, which is how a device
// that somebody else owns is found again with no stored state. lo is among them
// where the resolver is.
func (f *nftFirewall) devices() ([]string, error) {
	rules, err := listRules(owned.NFTable, "")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rules {
		name, _ := splitComment(r.comment)
		if r.chain == chainInput && strings.HasPrefix(name, resolverRule) {
			out = append(out, loopback)
		}
		if _, dev, ok := strings.Cut(name, ": leaves by "); ok {
			out = append(out, dev)
		}
	}
	return out, nil
}

// cleanup removes table inet routerd and every rule of ours in other tables.
func (f *nftFirewall) cleanup() (report, error) {
	rules, err := listRules("", "")
	if err != nil {
		return report{}, err
	}
	chains, err := listChains()
	if err != nil {
		return report{}, err
	}
	conn, err := f.open()
	if err != nil {
		return report{}, fmt.Errorf("open nftables: %w", err)
	}
	b := &nftBatch{conn: conn, table: ownTable()}
	for _, r := range rules {
		if r.table != owned.NFTable && strings.HasPrefix(r.comment, owned.Comment) {
			b.deleteForeign(r)
		}
	}
	if tableExists(conn, chains) {
		b.conn.DelTable(b.table)
		b.note("remove table inet %s", owned.NFTable)
	}
	if len(b.changes) == 0 {
		return report{}, nil
	}
	if err := conn.Flush(); err != nil {
		return report{}, fmt.Errorf("remove nftables ruleset: %w", err)
	}
	return report{changes: b.changes}, nil
}

// tableExists asks for the table too: one without chains shows in no chain.
func tableExists(conn *nftables.Conn, chains []rawChain) bool {
	for _, c := range chains {
		if c.is(owned.NFTable) {
			return true
		}
	}
	_, err := conn.ListTableOfFamily(owned.NFTable, nftables.TableFamilyINet)
	return err == nil
}

// splitComment takes a rule's comment apart: name and print.
func splitComment(c string) (name, print string) {
	i := strings.LastIndex(c, " #")
	if i < 0 {
		return c, ""
	}
	return c[:i], c[i+2:]
}

func userComment(c string) []byte { return userdata.AppendString(nil, userdata.TypeComment, c) }
