package netcfg

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// Attributes of include/uapi/linux/netfilter/nf_tables.h that no library names.
const (
	flowtableTableAttr = 1 // NFTA_FLOWTABLE_TABLE
	flowtableNameAttr  = 2 // NFTA_FLOWTABLE_NAME
	flowtableHookAttr  = 3 // NFTA_FLOWTABLE_HOOK
	flowtableDevsAttr  = 3 // NFTA_FLOWTABLE_HOOK_DEVS
	deviceNameAttr     = 1 // NFTA_DEVICE_NAME
	payloadSourceAttr  = 5 // NFTA_PAYLOAD_SREG
	targetNameAttr     = 1 // NFTA_TARGET_NAME
	metaPriority       = unix.NFT_META_PRIORITY
)

// rawFlowtable is a flowtable as the kernel lists it, its devices in order.
type rawFlowtable struct {
	family      uint8
	table, name string
	devices     []string
}

func (f rawFlowtable) ours() bool {
	return f.table == owned.NFTable && f.family == byte(nftables.TableFamilyINet)
}

// listFlowtables lists all flowtables of all tables; a kernel without them has
// none.
func listFlowtables() ([]rawFlowtable, error) {
	msgs, err := nftDump(unix.NFT_MSG_GETFLOWTABLE, unix.NFT_MSG_NEWFLOWTABLE)
	if err != nil {
		return nil, fmt.Errorf("list nftables flowtables: %w", err)
	}
	var out []rawFlowtable
	for _, m := range msgs {
		if len(m) >= nl.SizeofNfgenmsg {
			out = append(out, parseFlowtable(m))
		}
	}
	return out, nil
}

func parseFlowtable(m []byte) rawFlowtable {
	f := rawFlowtable{family: m[0]}
	for _, a := range attrs(m[nl.SizeofNfgenmsg:]) {
		switch a.kind {
		case flowtableTableAttr:
			f.table = cString(a.value)
		case flowtableNameAttr:
			f.name = cString(a.value)
		case flowtableHookAttr:
			for _, d := range attrs(find(attrs(a.value), flowtableDevsAttr)) {
				if d.kind == deviceNameAttr {
					f.devices = append(f.devices, cString(d.value))
				}
			}
		}
	}
	slices.Sort(f.devices)
	return f
}

// obstacle says what a rule of somebody else's does with each packet that a
// flowtable would keep from it; "" where it only judges. What has been accepted
// once need not be judged again.
func (r rawRule) obstacle() string {
	for _, elem := range attrs(r.exprs) {
		list := attrs(elem.value)
		does := r.does(cString(find(list, unix.NFTA_EXPR_NAME)), attrs(find(list, unix.NFTA_EXPR_DATA)))
		if does != "" {
			return fmt.Sprintf("nftables chain %s of table %s %s", r.chain, r.table, does)
		}
	}
	return ""
}

// does is what an expression does with each packet.
func (r rawRule) does(name string, data []attr) string {
	switch name {
	case "payload":
		if find(data, payloadSourceAttr) != nil {
			return "changes packets"
		}
	case "meta":
		if find(data, unix.NFTA_META_SREG) != nil {
			return r.sets(beUint32(find(data, unix.NFTA_META_KEY)))
		}
	case "limit":
		if r.table != fw4Table && !r.logs() {
			return "limits their rate"
		}
	case "target":
		if t := cString(find(data, targetNameAttr)); slices.Contains(alteringTargets(), t) {
			return "has target " + t
		}
	}
	return map[string]string{
		"queue": "hands packets to a program", "dup": "copies packets", "quota": "counts packets",
	}[name]
}

// alteringTargets are those of iptables over nftables that do something with each
// packet of a connection.
func alteringTargets() []string {
	return []string{"NFQUEUE", "MARK", "TTL", "HL", "DSCP", "TOS", "CLASSIFY", "TEE"}
}

// sets is what it means that a rule writes a key of meta: a mark of those that
// only route by it stays true for the connection.
func (r rawRule) sets(key uint32) string {
	switch {
	case key == metaPriority:
		return "sets packets' priority"
	case key == unix.NFT_META_MARK && chainOwner(r.chain) == "" && !strings.HasPrefix(r.table, "wg-quick-"):
		return "marks packets"
	}
	return ""
}

// logs says whether a rule writes a log: its limit is that of the log.
func (r rawRule) logs() bool {
	for _, elem := range attrs(r.exprs) {
		if cString(find(attrs(elem.value), unix.NFTA_EXPR_NAME)) == "log" {
			return true
		}
	}
	return false
}
