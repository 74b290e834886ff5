package netcfg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Foreign tables hold expressions that google/nftables cannot parse, and it
// then gives up on the whole list. What we need of them is little and stands
// in plain attributes, so those are read here.

// rawChain is a chain as the kernel lists it. Hook is -1 for a chain that is
// only jumped to.
type rawChain struct {
	family   uint8
	table    string
	name     string
	kind     string
	hook     int
	priority int32
	drops    bool // its policy is drop
}

// rawRule is a rule as the kernel lists it; exprs is NFTA_RULE_EXPRESSIONS.
type rawRule struct {
	family  uint8
	table   string
	chain   string
	handle  uint64
	comment string
	exprs   []byte
}

// nlaTypeMask removes NLA_F_NESTED and NLA_F_NET_BYTEORDER from a type.
const nlaTypeMask = 0x3fff

// attr is one netlink attribute, its flags removed.
type attr struct {
	kind  uint16
	value []byte
}

// attrs splits a run of netlink attributes. A length that does not fit ends
// the run: what follows could not be trusted.
func attrs(b []byte) []attr {
	var out []attr
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			break
		}
		kind := binary.NativeEndian.Uint16(b[2:]) & nlaTypeMask
		out = append(out, attr{kind, b[unix.SizeofNlAttr:n]})
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

func beUint32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func beUint64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// dumpTries bounds how often a list is asked for again when it changed while
// the kernel wrote it.
const dumpTries = 5

// nftDump lists nftables objects. A kernel without nf_tables has none.
func nftDump(get, answer int, filter ...*nl.RtAttr) ([][]byte, error) {
	var err error
	for range dumpTries {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|get, unix.NLM_F_DUMP)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_UNSPEC, Version: nl.NFNETLINK_V0})
		for _, a := range filter {
			req.AddData(a)
		}
		var msgs [][]byte
		msgs, err = req.Execute(unix.NETLINK_NETFILTER, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|answer))
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, syscall.EINTR) {
			return msgs, ignoreAbsent(err)
		}
	}
	return nil, err
}

// ignoreAbsent drops errors that say that there is no nf_tables, or no such
// table or chain.
func ignoreAbsent(err error) error {
	for _, e := range []error{
		syscall.ENOENT, syscall.EOPNOTSUPP, syscall.EPROTONOSUPPORT, syscall.EINVAL, syscall.EAFNOSUPPORT,
	} {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// listChains lists all chains of all tables.
func listChains() ([]rawChain, error) {
	msgs, err := nftDump(unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_NEWCHAIN)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	out := make([]rawChain, 0, len(msgs))
	for _, m := range msgs {
		if len(m) >= nl.SizeofNfgenmsg {
			out = append(out, parseChain(m))
		}
	}
	return out, nil
}

func parseChain(m []byte) rawChain {
	c := rawChain{family: m[0], hook: -1}
	for _, a := range attrs(m[nl.SizeofNfgenmsg:]) {
		switch a.kind {
		case unix.NFTA_CHAIN_TABLE:
			c.table = cString(a.value)
		case unix.NFTA_CHAIN_NAME:
			c.name = cString(a.value)
		case unix.NFTA_CHAIN_TYPE:
			c.kind = cString(a.value)
		case unix.NFTA_CHAIN_POLICY:
			c.drops = beUint32(a.value) == 0 // NF_DROP
		case unix.NFTA_CHAIN_HOOK:
			c.hook, c.priority = parseHook(a.value)
		}
	}
	return c
}

func parseHook(b []byte) (hook int, priority int32) {
	for _, h := range attrs(b) {
		switch h.kind {
		case unix.NFTA_HOOK_HOOKNUM:
			hook = int(beUint32(h.value))
		case unix.NFTA_HOOK_PRIORITY:
			priority = int32(beUint32(h.value))
		}
	}
	return hook, priority
}

// listRules lists the rules of a table and chain in their order; an empty name
// stands for all.
func listRules(table, chain string) ([]rawRule, error) {
	var filter []*nl.RtAttr
	if table != "" {
		filter = append(filter, nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(table)))
	}
	if chain != "" {
		filter = append(filter, nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(chain)))
	}
	msgs, err := nftDump(unix.NFT_MSG_GETRULE, unix.NFT_MSG_NEWRULE, filter...)
	if err != nil {
		return nil, fmt.Errorf("list nftables rules: %w", err)
	}
	out := make([]rawRule, 0, len(msgs))
	for _, m := range msgs {
		if len(m) >= nl.SizeofNfgenmsg {
			out = append(out, parseRule(m))
		}
	}
	return out, nil
}

func parseRule(m []byte) rawRule {
	r := rawRule{family: m[0]}
	for _, a := range attrs(m[nl.SizeofNfgenmsg:]) {
		switch a.kind {
		case unix.NFTA_RULE_TABLE:
			r.table = cString(a.value)
		case unix.NFTA_RULE_CHAIN:
			r.chain = cString(a.value)
		case unix.NFTA_RULE_HANDLE:
			r.handle = beUint64(a.value)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.exprs = a.value
		case unix.NFTA_RULE_USERDATA:
			r.comment = ruleComment(a.value)
		}
	}
	return r
}

// ruleComment reads the comment out of a rule's user data, which is whatever
// somebody put there: type, length, value, nothing guaranteed.
func ruleComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == byte(userdata.TypeComment) {
			return cString(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}
