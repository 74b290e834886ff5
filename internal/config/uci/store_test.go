package uci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chmod(path, mode))
}

func TestEditReplacesTheFileAndKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "routerd"), filepath.Join(dir, "link")
	write(t, path, "config t n\n", 0o640)
	if os.Getuid() == 0 { // only root can give files away
		must(t, os.Chown(path, 12, 34))
	}
	must(t, os.Symlink(path, link))
	before := stat(t, path)
	must(t, Edit(link, func(f *File) error { return f.Set("n", "a", "b") }))
	text, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff("config t n\n\toption a 'b'\n", string(text)); d != "" {
		t.Error(d)
	}
	after := stat(t, path)
	if d := cmp.Diff(describe(t, before), describe(t, after)); d != "" {
		t.Error(d)
	}
	if os.SameFile(before, after) {
		t.Error("the file was written in place, not replaced")
	}
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	checkOnly(t, dir, "link", "routerd")
}

func TestEditWritesNothingWhenItFailsOrChangesNothing(t *testing.T) {
	const text = "config t n\n"
	failure := errors.New("no")
	for _, tt := range []struct {
		name string
		text string
		edit func(*File) error
		want error
	}{
		{"the edit fails", text, func(f *File) error { return errors.Join(f.Set("n", "a", "b"), failure) }, failure},
		{"nothing changes", text, func(f *File) error { return f.Delete("n", "a") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "routerd")
			write(t, path, tt.text, 0o600)
			before, _ := os.Stat(path)
			if err := Edit(path, tt.edit); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			after, err := os.Stat(path)
			if err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
				t.Errorf("the file was touched: %v", err)
			}
			checkOnly(t, dir, "routerd")
		})
	}
}

func TestEditAndReadTellWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd")
	none := func(*File) error { return nil }
	if err := Edit(path, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("edit without a file: %v", err)
	}
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read without a file: %v", err)
	}
	write(t, path, "config\n", 0o600)
	var fault *Error
	if err := Edit(path, none); !errors.As(err, &fault) || fault.File != path {
		t.Errorf("edit of a wrong file: %v", err)
	}
	if _, err := Read(path); !errors.As(err, &fault) || fault.Line != 1 {
		t.Errorf("read of a wrong file: %v", err)
	}
	if _, err := Read(filepath.Dir(path)); err == nil {
		t.Error("a directory was read")
	}
}

// Whoever edits at the same time waits and then sees the other's change, and
// readers never see half of a file.
func TestEditsAtTheSameTimeAreAllKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd")
	write(t, path, "config t n\n", 0o600)
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := Edit(path, func(f *File) error { return f.AddList("n", "l", "v") }); err != nil {
					t.Error(err)
				}
				if f, err := Read(path); err != nil || len(f.Sections()) != 1 {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	wg.Wait()
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := f.Section("n")
	if l, ok := s.Option("l"); !ok || len(l.Values) != writers*each {
		t.Errorf("%+v, want %d values", l, writers*each)
	}
}

// checkOnly fails when a directory holds anything else: a temporary file left.
func checkOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if d := cmp.Diff(names, got); d != "" {
		t.Error(d)
	}
}

// describe gives mode and owner of a file.
func describe(t *testing.T, info fs.FileInfo) string {
	t.Helper()
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no owner in %T", info.Sys())
	}
	return fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The file is locked as uci locks it; when uci has put a new one in its place
// meanwhile, the edit is made there.
func TestEditWaitsForTheLockAndEditsTheNewFile(t *testing.T) {
	dir := t.TempDir()
	path, fresh := filepath.Join(dir, "routerd"), filepath.Join(dir, "fresh")
	write(t, path, "config t old\n", 0o600)
	write(t, fresh, "config t n\n", 0o600)
	held, err := os.Open(path)
	must(t, err)
	defer held.Close()
	must(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	done := make(chan error, 1)
	go func() { done <- Edit(path, func(f *File) error { return f.Set("n", "a", "b") }) }()
	must(t, os.Rename(fresh, path))
	must(t, unix.Flock(int(held.Fd()), unix.LOCK_UN))
	must(t, <-done)
	f, err := Read(path)
	must(t, err)
	if d := cmp.Diff("n=t\nn.a=\"b\"\n", flat(f)); d != "" {
		t.Error(d)
	}
}

func TestEditKeepsTheOldFileWhenItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("x", 250) // no room for the temporary file's longer name
	path := filepath.Join(dir, name)
	write(t, path, "config t n\n", 0o600)
	err := Edit(path, func(f *File) error { return f.Set("n", "a", "b") })
	if !errors.Is(err, unix.ENAMETOOLONG) || !strings.HasPrefix(err.Error(), "write settings: ") {
		t.Errorf("error %v", err)
	}
	text, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff("config t n\n", string(text)); d != "" {
		t.Error(d)
	}
	checkOnly(t, dir, name)
}

func TestReplaceLeavesNoTemporaryFileBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "routerd")
	must(t, os.Mkdir(path, 0o700)) // a directory cannot be replaced by a file
	old, err := os.Open(path)
	must(t, err)
	if err := replace(path, old, []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	must(t, old.Close())
	if err := replace(path, old, []byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("replace of a closed file: %v", err)
	}
	checkOnly(t, dir, "routerd")
}
