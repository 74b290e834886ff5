package cli

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Several commands hold keys: the daemon, a tunnel in userspace, imports.
func TestNoCommandDumpsCore(t *testing.T) {
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &before) // needs root
	})
	if status := Main([]string{"version"}, strings.NewReader(""), io.Discard, io.Discard); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &after); err != nil || after != (unix.Rlimit{}) {
		t.Errorf("limit %+v, %v", after, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable %d, %v", dumpable, err)
	}
}
