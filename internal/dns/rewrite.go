package dns

import "encoding/binary"

// nameForm says where the names of a type's data lie: a number of octets, the
// names, and whatever follows.
type nameForm struct{ before, names int }

// nameForms lists the types whose data a server may compress (RFC 3597 4), and
// those of DNSSEC that some compress all the same. Data of all other types
// holds no pointers. NAPTR is read by compressible.
var nameForms = map[Type]nameForm{
	2: {0, 1}, 3: {0, 1}, 4: {0, 1}, 5: {0, 1}, 6: {0, 2}, 7: {0, 1}, 8: {0, 1}, 9: {0, 1},
	12: {0, 1}, 14: {0, 2}, 15: {2, 1}, 17: {0, 2}, 18: {2, 1}, 21: {2, 1}, 24: {18, 1},
	26: {2, 2}, 30: {0, 1}, 33: {6, 1}, 36: {2, 1}, typeDNAME: {0, 1}, typeRRSIG: {18, 1}, typeNSEC: {0, 1},
}

const typeNAPTR Type = 35

// compressible gives the form of a record's data; false: without names.
func compressible(msg []byte, r record) (nameForm, bool) {
	if r.typ != typeNAPTR {
		form, ok := nameForms[r.typ]
		return form, ok
	}
	// Order, preference and three character strings stand before the name.
	at := r.data + 4
	for range 3 {
		if at >= r.end {
			return nameForm{}, false
		}
		at += 1 + int(msg[at])
	}
	return nameForm{at - r.data, 1}, at < r.end
}

// rewrite makes a message anew with records left out or with other data: edit
// gives new data, nil for what is there, and whether the record stays. Nothing
// before the first change moves, and so pointers to there are kept; names that
// point behind it are written out. A message without any change comes back as it
// is.
func rewrite(msg []byte, edit func(record) (data []byte, keep bool)) ([]byte, error) {
	e := editor{msg: msg}
	w := walk(msg)
	for w.next() {
		data, keep := edit(w.record)
		if err := e.record(w.record, data, keep); err != nil {
			return nil, err
		}
	}
	if w.err != nil || e.first == 0 {
		return msg, w.err
	}
	if len(e.out) > maxMessage {
		return nil, errTooLong
	}
	for i, n := range e.counts {
		binary.BigEndian.PutUint16(e.out[6+2*i:], uint16(n))
	}
	return e.out, nil
}

// editor is a message being made anew.
type editor struct {
	msg    []byte
	out    []byte
	counts [sections]int
	first  int // of the records that change, an offset; 0: none yet
}

func (e *editor) record(r record, data []byte, keep bool) (err error) {
	if keep {
		e.counts[r.section]++
	}
	if e.first == 0 {
		if keep && data == nil {
			return nil
		}
		e.first = r.start
		e.out = append(make([]byte, 0, len(e.msg)), e.msg[:r.start]...)
	}
	if keep {
		e.out, err = appendRecord(e.out, e.msg, r, data, e.first)
	}
	return err
}

// appendRecord appends a record with its names fit for a place where only what
// lies before keep is as it was.
func appendRecord(out, msg []byte, r record, data []byte, keep int) ([]byte, error) {
	out, _, err := appendName(out, msg, r.start, keep)
	if err != nil {
		return nil, err
	}
	out = append(out, msg[r.fixed:r.data]...)
	begin := len(out)
	form, named := compressible(msg, r)
	switch {
	case data != nil:
		out = append(out, data...)
	case !named:
		out = append(out, msg[r.data:r.end]...)
	default:
		if out, err = appendNamedData(out, msg, r, form, keep); err != nil {
			return nil, err
		}
	}
	if len(out)-begin > maxMessage {
		return nil, errTooLong
	}
	binary.BigEndian.PutUint16(out[begin-2:], uint16(len(out)-begin))
	return out, nil
}

func appendNamedData(out, msg []byte, r record, form nameForm, keep int) ([]byte, error) {
	at := r.data + form.before
	if at > r.end {
		return nil, errShort
	}
	out = append(out, msg[r.data:at]...)
	for range form.names {
		var err error
		if out, at, err = appendName(out, msg, at, keep); err != nil {
			return nil, err
		}
		if at > r.end {
			return nil, errShort
		}
	}
	return append(out, msg[at:r.end]...), nil
}
