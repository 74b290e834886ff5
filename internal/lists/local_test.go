package lists

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/config"
)

// localFolder is a folder of lists, with a link that leads out of it.
func localFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for path, text := range map[string]string{
		outside:                          "secret.example\n",
		filepath.Join(dir, "main"):       "a.example\ninclude:other\ninclude:link\ninclude:../" + filepath.Base(outside) + "\ninclude:sub\n",
		filepath.Join(dir, "other"):      "other.example @cn\n",
		filepath.Join(dir, "hosts.txt"):  "0.0.0.0 host.example\n",
		filepath.Join(dir, "zipped.gz"):  zip(t, "zipped.example\n"),
		filepath.Join(dir, "empty.list"): "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLocalListsAreReadWithTheirFolder(t *testing.T) {
	dir := localFolder(t)
	w := newWorld(t)
	w.start(
		list("v2fly", "file://"+dir+"/main"), list("hosts", dir+"/hosts.txt"), list("zipped", "file://"+dir+"/zipped.gz"),
		list("absent", "file://"+dir+"/absent"), list("folder", dir), list("device", "file:///dev/zero"), list("empty", dir+"/empty.list"),
		list("nowhere", "file://"+dir+"/no/such"), list("alink", dir+"/link"),
	)
	for _, name := range []string{"v2fly", "hosts", "zipped", "alink"} {
		w.mustUpdate(name)
	}
	w.wantRules("v2fly", "a.example", "other.example")
	w.wantRules("hosts", "full:host.example")
	w.wantRules("zipped", "zipped.example")
	w.wantRules("alink", "secret.example") // the user's own settings name it
	told := w.status("v2fly").Problems
	for i, want := range []string{"include link: openat link: path escapes", "same folder", "not a regular file"} {
		if len(told) != 3 || !strings.Contains(told[i], want) {
			t.Errorf("problems %q, want %q", told, want)
		}
	}
	for name, want := range map[string]string{
		"absent": "no such file", "folder": "not a regular file", "device": "not a regular file", "empty": "nothing in the list", "nowhere": "no such file",
	} {
		contains(t, w.update(name), want)
	}
	if len(w.dialled) > 0 {
		t.Errorf("dialled %v", w.dialled)
	}
}

func TestLocalListsAreReadAgainWithEachSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.list")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	write("a.example\n")
	l := list("my", path)
	w.start(l)
	w.mustUpdate("my")
	w.m.Set([]config.List{l})
	if s := w.status("my"); !s.NextTry.Equal(w.now) {
		t.Errorf("due at %v", s.NextTry)
	}
	write("b.example\n")
	w.mustUpdate("my")
	w.wantRules("my", "b.example")
}
