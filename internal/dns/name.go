package dns

import (
	"fmt"
	"strings"
)

// nameText is a name in wire form as text: without a dot at the end, "." for
// the root. Octets that no host name has are written as \DDD, so that a dot
// within a label never looks like one between labels.
func nameText(wire []byte) string {
	if len(wire) <= 1 {
		return "."
	}
	var buf [maxName]byte
	out := buf[:0]
	for i := 0; i < len(wire) && wire[i] != 0; i += 1 + int(wire[i]) {
		if i > 0 {
			out = append(out, '.')
		}
		for _, c := range wire[i+1 : i+1+int(wire[i])] {
			if c <= ' ' || c >= 0x7f || c == '.' || c == '\\' {
				out = fmt.Appendf(out, `\%03d`, c)
				continue
			}
			out = append(out, c)
		}
	}
	return string(out)
}

// nameWire is a host name in wire form, lower case. A dot at the end may be
// there or not.
func nameWire(text string) ([]byte, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if name == "" {
		return []byte{0}, nil
	}
	out := make([]byte, 0, len(name)+2)
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return nil, fmt.Errorf("name %q: a label needs 1 to 63 octets", text)
		}
		out = append(append(out, byte(len(label))), label...)
	}
	if out = append(out, 0); len(out) > maxName {
		return nil, fmt.Errorf("name %q: longer than %d octets", text, maxName)
	}
	return out, nil
}
