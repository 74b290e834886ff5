package uci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestEditReplacesTheFileAndKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "routerd"), filepath.Join(dir, "link")
	write(t, path, "config t n\n", 0o640)
	if os.Getuid() == 0 {
		if err := os.Chown(path, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	if err := Edit(link, func(f *File) error { return f.Set("n", "a", "b") }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("config t n\n\toption a 'b'\n", string(text)); d != "" {
		t.Error(d)
	}
	after, _ := os.Stat(path)
	if after.Mode() != before.Mode() {
		t.Errorf("mode %v, want %v", after.Mode(), before.Mode())
	}
	var old, now fileOwner
	old.of(t, before)
	now.of(t, after)
	if old != now {
		t.Errorf("owner %v, want %v", now, old)
	}
	if os.SameFile(before, after) {
		t.Error("the file was written in place, not replaced")
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", st.Mode(), err)
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

// fileOwner is user and group of a file.
type fileOwner struct{ uid, gid uint32 }

func (o *fileOwner) of(t *testing.T, info fs.FileInfo) {
	t.Helper()
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no owner in %T", info.Sys())
	}
	o.uid, o.gid = st.Uid, st.Gid
}
