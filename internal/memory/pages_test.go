package memory

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const smaps = `55d0c0000000-55d0c0400000 r-xp 00000000 08:01 131 /usr/sbin/a program
Rss:                4096 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0400000-55d0c0500000 r--p 00400000 08:01 131 /usr/sbin/a program
Rss:                 100 kB
Anonymous:             4 kB
55d0c0500000-55d0c0600000 rw-p 00500000 08:01 131 /usr/sbin/a program
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:          4096 kB
7ffd1-7ffd2 r-xp 00000000 00:00 0                [vdso]
`

func TestMappingsAreReadAsTheKernelWritesThem(t *testing.T) {
	got, err := mappings(strings.NewReader(smaps))
	const file = "/usr/sbin/a program"
	want := []mapping{
		{0x55d0c0000000, 0x55d0c0400000, file, "r-xp", false},
		{0x55d0c0400000, 0x55d0c0500000, file, "r--p", true},
		{0x55d0c0500000, 0x55d0c0600000, file, "rw-p", false},
		{0xc000000000, 0xc000400000, "", "rw-p", true},
		{0x7ffd1, 0x7ffd2, "", "r-xp", false},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := mappings(strings.NewReader("zz-1 r-xp 0 08:01 131 /file\n")); err == nil {
		t.Error("an address that is none was taken")
	}
}

// The test's own code is let go of, and comes back.
func TestReleasedPagesOfTheProgramAreNotMappedUntilUsed(t *testing.T) {
	before := fromFile(t)
	released, err := ReleaseProgram()
	if err != nil {
		t.Fatal(err)
	}
	after := fromFile(t)
	t.Logf("%d KiB of files mapped, %d after %d KiB were let go of", before, after, released/1024)
	if after >= before*3/4 {
		t.Errorf("%d KiB of files are mapped still, there were %d", after, before)
	}
}

// fromFile is how much of files is mapped, in KiB.
func fromFile(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "RssFile:")
	n := 0
	for _, c := range strings.TrimSpace(rest) {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	if !found {
		t.Fatal("the kernel does not tell")
	}
	return n
}
