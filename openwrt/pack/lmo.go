package pack

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// The format of LuCI's catalogues, "Lua machine objects", as LuCI's own reader
// (luci-base, src/lib/lmo.c) takes it. All numbers are 32 bits, big-endian:
//
//	texts    each padded with zeros to a multiple of 4 octets
//	index    one entry a text: hash of the key, number of plural forms, offset
//	         and length of the text; in order of the hash
//	offset   of the index
//
// The entry with hash 0 holds the formula of the plural. The key of a message is
// [context \1] msgid [\2 form]. LuCI's pages look it up with runs of white space
// made one space, so a msgid must not hold others.

const lmoEntry = 16 // octets of an entry of the index

// entry is one line of the index.
type entry struct{ key, forms, offset, length uint32 }

// LMO makes LuCI's binary catalogue. Messages without a translation, or with one
// that is the same, are left out: LuCI shows the msgid then.
func LMO(c Catalogue) ([]byte, error) {
	var texts bytes.Buffer
	var index []entry
	add := func(key, forms uint32, text string) {
		index = append(index, entry{key, forms, uint32(texts.Len()), uint32(len(text))})
		texts.WriteString(text)
		texts.Write(make([]byte, -len(text)&3))
	}
	if c.PluralForms != "" {
		add(0, 0, c.PluralForms)
	}
	seen := map[uint32]string{}
	for _, m := range c.Messages {
		if err := plain(m); err != nil {
			return nil, fmt.Errorf("line %d: %w", m.Line, err)
		}
		for form, text := range m.Strings {
			key := messageKey(m, form)
			if text == "" || text == m.ID {
				continue
			}
			hash := SFH(key)
			if other, taken := seen[hash]; taken {
				return nil, fmt.Errorf("line %d: the hashes of %.40q and %.40q are the same: word one of them differently", m.Line, key, other)
			}
			seen[hash] = key
			add(hash, uint32(len(m.Strings)), text)
		}
	}
	slices.SortFunc(index, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	out := bytes.Clone(texts.Bytes())
	for _, e := range index {
		for _, v := range []uint32{e.key, e.forms, e.offset, e.length} {
			out = binary.BigEndian.AppendUint32(out, v)
		}
	}
	return binary.BigEndian.AppendUint32(out, uint32(texts.Len())), nil
}

// plain refuses texts that LuCI's own tools treat in a way of their own: they do
// not decode escapes, and do not find white space but single spaces.
func plain(m Message) error {
	for _, s := range append([]string{m.Context, m.ID, m.Plural}, m.Strings...) {
		if bytes.ContainsAny([]byte(s), "\n\t\r\x00\x01\x02") {
			return fmt.Errorf("%.40q: line breaks and tabs cannot be translated", s)
		}
	}
	if m.ID != string(bytes.Join(bytes.Fields([]byte(m.ID)), []byte(" "))) {
		return fmt.Errorf("%.40q: spaces stand at its ends or twice", m.ID)
	}
	return nil
}

// messageKey is what one form of a message is looked up by.
func messageKey(m Message, form int) string {
	key := m.ID
	if m.Context != "" {
		key = m.Context + "\x01" + key
	}
	if m.Plural != "" {
		key += "\x02" + strconv.Itoa(form)
	}
	return key
}

// Translations gives the texts by the hash of their keys, as LuCI's pages take
// them.
func Translations(c Catalogue) map[uint32]string {
	out := map[uint32]string{}
	for _, m := range c.Messages {
		for form, text := range m.Strings {
			if text != "" {
				out[SFH(messageKey(m, form))] = text
			}
		}
	}
	return out
}

// ErrLMO says that a file is no catalogue of LuCI's.
var ErrLMO = errors.New("no LuCI catalogue")

// ReadLMO gives the texts of a catalogue by the hash of their keys.
func ReadLMO(file []byte) (map[uint32]string, error) {
	end := len(file) - 4
	if end < 0 {
		return nil, fmt.Errorf("%w: %d octets", ErrLMO, len(file))
	}
	start := int64(binary.BigEndian.Uint32(file[end:]))
	if start > int64(end) || (int64(end)-start)%lmoEntry != 0 {
		return nil, fmt.Errorf("%w: its index begins at %d of %d octets", ErrLMO, start, len(file))
	}
	out := map[uint32]string{}
	for at := start; at < int64(end); at += lmoEntry {
		key := binary.BigEndian.Uint32(file[at:])
		offset, length := int64(binary.BigEndian.Uint32(file[at+8:])), int64(binary.BigEndian.Uint32(file[at+12:]))
		if offset+length > start {
			return nil, fmt.Errorf("%w: a text ends behind all texts", ErrLMO)
		}
		out[key] = string(file[offset : offset+length])
	}
	return out, nil
}

// SFH is Paul Hsieh's "SuperFastHash" of a text, as LuCI computes it: begun with
// the length, 16 bits at a time in little-endian order, and the odd last octet
// as a signed number.
func SFH(s string) uint32 {
	if s == "" {
		return 0
	}
	pair := func(i int) uint32 { return uint32(s[i]) | uint32(s[i+1])<<8 }
	signed := func(i int) uint32 { return uint32(int32(int8(s[i]))) }
	hash := uint32(len(s))
	i := 0
	for ; i+4 <= len(s); i += 4 {
		hash += pair(i)
		hash = hash<<16 ^ (pair(i+2)<<11 ^ hash)
		hash += hash >> 11
	}
	switch len(s) - i {
	case 3:
		hash += pair(i)
		hash ^= hash << 16
		hash ^= signed(i+2) << 18
		hash += hash >> 11
	case 2:
		hash += pair(i)
		hash ^= hash << 11
		hash += hash >> 17
	case 1:
		hash += signed(i)
		hash ^= hash << 10
		hash += hash >> 1
	}
	hash ^= hash << 3
	hash += hash >> 5
	hash ^= hash << 4
	hash += hash >> 17
	hash ^= hash << 25
	hash += hash >> 6
	return hash
}
