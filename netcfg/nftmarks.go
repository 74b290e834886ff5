package netcfg

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// markScan follows one rule's registers as far as marks go through them.
type markScan struct {
	uses []markUse
	// loaded is true while the register holds a mark, or what was made of one.
	loaded bool
	from   string // the expression that it was loaded by: meta or ct
	mask   uint32 // bits of the mark that are still in the register
	xor    uint32
}

// scanMarks finds the uses of packets' and connections' marks in a rule's
// expressions (NFTA_RULE_EXPRESSIONS): comparisons and assignments, each
// through a mask or not.
func scanMarks(exprs []byte) []markUse {
	s := &markScan{}
	for _, elem := range attrs(exprs) {
		var name string
		var data []attr
		for _, a := range attrs(elem.value) {
			switch a.kind {
			case unix.NFTA_EXPR_NAME:
				name = cString(a.value)
			case unix.NFTA_EXPR_DATA:
				data = attrs(a.value)
			}
		}
		s.expr(name, data)
	}
	return s.uses
}

func (s *markScan) expr(name string, data []attr) {
	switch name {
	case "meta":
		s.access(name, find(data, unix.NFTA_META_KEY), unix.NFT_META_MARK, find(data, unix.NFTA_META_SREG))
	case "ct":
		s.access(name, find(data, unix.NFTA_CT_KEY), unix.NFT_CT_MARK, find(data, unix.NFTA_CT_SREG))
	case "immediate":
		s.loaded, s.mask = false, 0
		s.xor = dataValue(find(data, unix.NFTA_IMMEDIATE_DATA))
	case "bitwise":
		s.mask &= dataValue(find(data, unix.NFTA_BITWISE_MASK))
		s.xor = dataValue(find(data, unix.NFTA_BITWISE_XOR))
	case "cmp":
		if s.loaded && s.mask != 0 {
			s.uses = append(s.uses, markUse{mask: s.mask, value: dataValue(find(data, unix.NFTA_CMP_DATA))})
		}
	}
}

// access is a load of a key, or an assignment to it where it has a source
// register. What a masked assignment writes are the bits that the mask clears
// and those that are set then; an assignment from elsewhere writes all.
func (s *markScan) access(name string, key []byte, mark uint32, sreg []byte) {
	if sreg == nil {
		s.loaded, s.from, s.mask, s.xor = beUint32(key) == mark, name, math.MaxUint32, 0
		return
	}
	if beUint32(key) != mark {
		return
	}
	written := ^s.mask | s.xor
	if !s.loaded || s.from != name {
		written = math.MaxUint32
	}
	s.uses = append(s.uses, markUse{mask: written, value: s.xor, writes: true})
}

func find(list []attr, kind uint16) []byte {
	for _, a := range list {
		if a.kind == kind {
			return a.value
		}
	}
	return nil
}

// dataValue reads a nested NFTA_DATA_VALUE; marks are in host byte order.
func dataValue(b []byte) uint32 {
	v := find(attrs(b), unix.NFTA_DATA_VALUE)
	if len(v) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}
