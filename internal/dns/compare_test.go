package dns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The golden table has a comparison a line: the provider's answer, the trusted
// one and what is said of them. An answer is a response code and addresses.
func TestCompareGoldenTable(t *testing.T) {
	file := filepath.Join("testdata", "compare.txt")
	raw, err := os.ReadFile(file)
	must(t, err)
	var want, got []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 3 {
			t.Fatalf("%s: %q has not three columns", file, line)
		}
		said := Compare(answerText(t, parts[0]), answerText(t, parts[1]))
		sure := "repeat"
		if said.Sure {
			sure = "sure"
		}
		text := "same"
		if said.Reason != ReasonSame {
			text = fmt.Sprintf("%s, %s: %s", said.Reason, sure, said.Detail)
		}
		want = append(want, line)
		got = append(got, parts[0]+"|"+parts[1]+"| "+text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	if len(want) < 20 {
		t.Errorf("%d lines only", len(want))
	}
}

func answerText(t *testing.T, text string) Answer {
	t.Helper()
	fields := strings.Fields(text)
	rcode, err := strconv.Atoi(fields[0])
	must(t, err)
	a := Answer{Rcode: rcode}
	for _, f := range fields[1:] {
		addr, err := netip.ParseAddr(f)
		must(t, err)
		a.Addrs = append(a.Addrs, addr)
	}
	return a
}
