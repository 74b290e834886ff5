package bench

import (
	"bytes"
	"fmt"
)

// Record puts a measurement's text into a document, in the place of what was recorded
// before: between a line <!-- scripts/bench NAME --> and the next <!-- end -->.
func Record(document []byte, name, text string) ([]byte, error) {
	begin := fmt.Appendf(nil, "<!-- scripts/bench %s -->\n", name)
	before, rest, found := bytes.Cut(document, begin)
	if !found {
		return nil, fmt.Errorf("the document has no line %s", bytes.TrimSpace(begin))
	}
	end := []byte("<!-- end -->\n")
	old, after, found := bytes.Cut(rest, end)
	if !found || bytes.Contains(old, []byte("<!-- scripts/bench")) {
		return nil, fmt.Errorf("the document has no line %s behind %s", bytes.TrimSpace(end), bytes.TrimSpace(begin))
	}
	return bytes.Join([][]byte{before, begin, []byte(text), end, after}, nil), nil
}
