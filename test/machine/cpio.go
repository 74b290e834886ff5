package machine

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// archive writes a cpio archive in the form that the kernel unpacks into its
// initial file system (Documentation/driver-api/early-userspace/
// buffer-format.rst: "newc"). Folders are written ahead of what they hold.
type archive struct {
	w     io.Writer
	inode int
	dirs  map[string]bool
	err   error
}

func newArchive(w io.Writer) *archive { return &archive{w: w, dirs: map[string]bool{}} }

// The kinds of a file in its mode (stat(2)).
const (
	kindDir    = 0o040000
	kindFile   = 0o100000
	kindDevice = 0o020000 // of characters
)

// file adds a file; the path begins with no slash.
func (a *archive) file(name string, mode uint32, content []byte) {
	a.parents(name)
	a.entry(name, kindFile|mode, 0, 0, content)
}

// device adds a device of characters.
func (a *archive) device(name string, mode uint32, major, minor int) {
	a.parents(name)
	a.entry(name, kindDevice|mode, major, minor, nil)
}

func (a *archive) parents(name string) {
	dir := path.Dir(name)
	if dir == "." || a.dirs[dir] {
		return
	}
	a.parents(dir)
	a.dirs[dir] = true
	a.entry(dir, kindDir|0o755, 0, 0, nil)
}

func (a *archive) entry(name string, mode uint32, major, minor int, content []byte) {
	a.inode++
	// Magic, inode, mode, uid, gid, links, mtime, size, device of the file
	// system, device, length of the name with its zero, check sum (none).
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	a.padded(head + name + "\x00")
	a.padded(string(content))
}

// padded writes octets up to a multiple of four.
func (a *archive) padded(s string) {
	if a.err == nil {
		_, a.err = io.WriteString(a.w, s+strings.Repeat("\x00", -len(s)&3))
	}
}

// close ends the archive and gives the first error.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}
