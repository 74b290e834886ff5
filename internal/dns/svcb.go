package dns

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Parameters of SVCB and HTTPS records, RFC 9460 14.3.2.
const (
	paramMandatory = 0
	paramIPv4Hint  = 4
	paramIPv6Hint  = 6
)

var errSVCB = errors.New("malformed SVCB record")

// isSVCB says whether a type has SVCB's form (SVCB and HTTPS).
func isSVCB(t Type) bool { return t == 64 || t == 65 }

// svcParams gives the offset of the parameters in a record's data: behind the
// priority and the target, which must not be compressed (RFC 9460 2.2).
func svcParams(data []byte) (int, error) {
	for at := 2; at < len(data) && at < 2+maxName; at += 1 + int(data[at]) {
		if data[at] == 0 {
			return at + 1, nil
		}
		if data[at] >= 0x40 {
			break
		}
	}
	return 0, errSVCB
}

// svcParam is one parameter with the rest that follows it.
type svcParam struct {
	key   uint16
	whole []byte // with key and length
	value []byte
	rest  []byte
}

func nextParam(b []byte) (svcParam, error) {
	if len(b) < 4 {
		return svcParam{}, errSVCB
	}
	end := 4 + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return svcParam{}, errSVCB
	}
	return svcParam{binary.BigEndian.Uint16(b), b[:end], b[4:end], b[end:]}, nil
}

// appendHints appends the address hints of a record's data. What is malformed
// gives none: clients refuse such a record whole.
func appendHints(dst []netip.Addr, data []byte) []netip.Addr {
	at, err := svcParams(data)
	if err != nil {
		return dst
	}
	out := dst
	for b := data[at:]; len(b) > 0; {
		p, err := nextParam(b)
		if err != nil {
			return dst
		}
		switch p.key {
		case paramIPv4Hint:
			out = appendAddrs(out, p.value, 4)
		case paramIPv6Hint:
			out = appendAddrs(out, p.value, 16)
		}
		b = p.rest
	}
	return out
}

// appendAddrs appends the addresses that lie in b, up to maxAddresses in all.
func appendAddrs(dst []netip.Addr, b []byte, size int) []netip.Addr {
	for ; len(b) >= size && len(dst) < maxAddresses; b = b[size:] {
		if a, ok := netip.AddrFromSlice(b[:size]); ok {
			dst = append(dst, a)
		}
	}
	return dst
}

// withoutIPv6Hint is a record's data without the parameter ipv6hint and without
// its mention in mandatory, which must name none that is missing and must not
// be empty (RFC 9460 8). Where there is no such hint the data comes back as it
// is.
func withoutIPv6Hint(data []byte) ([]byte, error) {
	at, err := svcParams(data)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(data)), data[:at]...)
	for b := data[at:]; len(b) > 0; {
		p, err := nextParam(b)
		if err != nil {
			return nil, err
		}
		switch p.key {
		case paramIPv6Hint:
		case paramMandatory:
			out = appendMandatory(out, p.value)
		default:
			out = append(out, p.whole...)
		}
		b = p.rest
	}
	if len(out) == len(data) {
		return data, nil
	}
	return out, nil
}

func appendMandatory(out, value []byte) []byte {
	start := len(out)
	out = append(out, 0, paramMandatory, 0, 0)
	for ; len(value) >= 2; value = value[2:] {
		if binary.BigEndian.Uint16(value) != paramIPv6Hint {
			out = append(out, value[:2]...)
		}
	}
	size := len(out) - start - 4
	if size == 0 {
		return out[:start]
	}
	binary.BigEndian.PutUint16(out[start+2:], uint16(size))
	return out
}
