package memory

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTotalIsWhatTheKernelShows(t *testing.T) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	var kilo uint64
	_, rest, _ := strings.Cut(string(raw), "MemTotal:")
	if _, err := fmt.Sscan(rest, &kilo); err != nil {
		t.Fatal(err)
	}
	if got := Total(); got/1024 != kilo {
		t.Errorf("got %d octets, /proc/meminfo shows %d KiB", got, kilo)
	}
}
