package ebpf

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cilium/ebpf"
)

// collection is what folder image has read out of the object.
type collection struct {
	license  string
	maps     map[string]*mapSpec
	programs map[string]*programSpec
}

// mapSpec is what a map is made from; Type and Flags are BPF_MAP_TYPE_* and
// BPF_F_* of linux/bpf.h, sizes are in octets.
type mapSpec struct {
	Name                           string
	Type                           ebpf.MapType
	KeySize, ValueSize, MaxEntries uint32
	Flags                          uint32
	Inner                          *mapSpec // of a map of maps
}

// programSpec is a program before it is loaded.
type programSpec struct {
	name  string
	kind  ebpf.ProgramType
	flags uint32 // BPF_F_* of BPF_PROG_LOAD
	code  []byte // struct bpf_insn in host byte order; not to be written to
	maps  []string
}

// Instructions of 8 octets; a load of a 64-bit constant takes two.
const (
	insnSize     = 8
	opLoadDouble = 0x18 // BPF_LD | BPF_IMM | BPF_DW
	pseudoMapFD  = 1    // in src_reg: the constant is a map
)

// loadImage reads the embedded image.
func loadImage() (*collection, error) {
	raw, err := unpackImage(packedImage)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return parseImage(raw)
}

// unpackImage undoes what folder image does last: it compresses the first line and
// the code, of which each field of the instructions is a column of its own.
func unpackImage(packed string) ([]byte, error) {
	raw, err := io.ReadAll(flate.NewReader(strings.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	code := raw[bytes.IndexByte(raw, '\n')+1:]
	n := len(code) / insnSize
	if len(code) != n*insnSize {
		return nil, fmt.Errorf("the code has %d octets", len(code))
	}
	at, rows := 0, make([]byte, len(code))
	for _, width := range []int{1, 1, 2, 4} { // operation, registers, offset, constant
		column := code[at*n:]
		for i := range n {
			copy(rows[i*insnSize+at:], column[i*width:(i+1)*width])
		}
		at += width
	}
	copy(code, rows)
	return raw, nil
}

func parseImage(raw []byte) (*collection, error) {
	line, code, ok := bytes.Cut(raw, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("read image: it has no first line")
	}
	var h struct {
		License  string
		Maps     []*mapSpec
		Programs []struct {
			Name       string
			Type, Size uint32
		}
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	c := &collection{license: h.License, maps: map[string]*mapSpec{}, programs: map[string]*programSpec{}}
	var names []string
	for _, m := range h.Maps {
		c.maps[m.Name] = m
		names = append(names, m.Name)
	}
	for _, p := range h.Programs {
		if uint64(p.Size) > uint64(len(code)) || p.Size%insnSize != 0 {
			return nil, fmt.Errorf("read image: program %s has %d octets, %d are left", p.Name, p.Size, len(code))
		}
		c.programs[p.Name] = &programSpec{name: p.Name, kind: ebpf.ProgramType(p.Type), code: code[:p.Size:p.Size], maps: names}
		code = code[p.Size:]
	}
	if len(code) > 0 {
		return nil, fmt.Errorf("read image: %d octets belong to no program", len(code))
	}
	return c, nil
}

// linked is the program's code with the maps' descriptors in it.
func (p *programSpec) linked(maps map[string]*ebpf.Map) ([]byte, error) {
	out := bytes.Clone(p.code)
	for at := 0; at < len(out); at += insnSize {
		if out[at] != opLoadDouble {
			continue
		}
		if sourceRegister(out[at+1]) == pseudoMapFD {
			constant := out[at+4 : at+8]
			i := binary.NativeEndian.Uint32(constant)
			if i >= uint32(len(p.maps)) || maps[p.maps[i]] == nil {
				return nil, fmt.Errorf("instruction %d loads map %d, which is not there", at/insnSize, i)
			}
			binary.NativeEndian.PutUint32(constant, uint32(maps[p.maps[i]].FD()))
		}
		at += insnSize
	}
	return out, nil
}

// sourceRegister takes src_reg out of the octet that it shares with dst_reg: two
// bit fields, which begin at the other end where the byte order is the other.
func sourceRegister(b byte) byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return b >> 4
	}
	return b & 0xf
}
