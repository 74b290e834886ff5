package memory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping is a part of the address space that shows a file.
type mapping struct {
	begin, end uintptr
	file       string
	perms      string // rwxp
	own        bool   // some of its pages are the process' own by now
}

// ReleaseProgram lets go of the pages of the running program that have been in use:
// code and constants of the start, mostly. Their file keeps them in the kernel's
// cache, from where those that are used again come by a minor fault for some of them
// together; the kernel takes the others for anything else as soon as it has need of
// room, ahead of what is mapped. What it gives is how many octets were let go of at most.
// Nothing that the process has written is touched.
func ReleaseProgram() (uintptr, error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("find the program: %w", err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("list mappings: %w", err)
	}
	defer f.Close()
	all, err := mappings(f)
	if err != nil {
		return 0, fmt.Errorf("list mappings: %w", err)
	}
	var sum uintptr
	var errs []error
	for _, m := range all {
		if m.file != program || m.own || strings.Contains(m.perms, "w") || m.begin >= m.end {
			continue
		}
		errs = append(errs, forget(m))
		sum += m.end - m.begin
	}
	return sum, errors.Join(errs...)
}

// forget has the kernel take the pages of a mapping out of the address space
// (madvise(2), MADV_DONTNEED): reads find the file's again.
func forget(m mapping) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED); errno != 0 {
		return fmt.Errorf("let go of pages: %w", errno)
	}
	return nil
}

// mappings reads smaps (proc(5)): a line for each mapping, then numbers.
func mappings(r io.Reader) ([]mapping, error) {
	var out []mapping
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && strings.HasSuffix(f[0], ":"):
			if len(out) > 0 && f[0] == "Anonymous:" && f[1] != "0" {
				out[len(out)-1].own = true
			}
		case len(f) >= 5:
			m, err := parseMapping(f, line)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	return out, lines.Err()
}

// parseMapping reads "begin-end perms offset device inode file"; a file's name may
// have spaces.
func parseMapping(f []string, line string) (mapping, error) {
	begin, end, ok := strings.Cut(f[0], "-")
	b, berr := strconv.ParseUint(begin, 16, 64)
	e, eerr := strconv.ParseUint(end, 16, 64)
	if !ok || berr != nil || eerr != nil {
		return mapping{}, fmt.Errorf("%q is no mapping", line)
	}
	m := mapping{begin: uintptr(b), end: uintptr(e), perms: f[1]}
	if at := strings.IndexByte(line, '/'); at >= 0 {
		m.file = line[at:]
	}
	return m, nil
}
