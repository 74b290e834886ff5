package lists

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

func TestAStartUsesTheCopyAtOnce(t *testing.T) {
	for name, reboot := range map[string]bool{"of the daemon": false, "of the router": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.handle("/l/a", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("ETag", `"x"`)
				_, _ = rw.Write([]byte("a.example\nkeyword:x\ncom\na.example\n"))
			})
			w.start(list("a", "/l/a"))
			w.mustUpdate("a")
			before := w.status("a")
			w.pass(20 * time.Minute)
			due := 40 * time.Minute
			if reboot {
				_ = os.RemoveAll(w.opts.StateDir)
				before.Checked, before.Problems = time.Time{}, nil
				due = startSpread / 2
			}
			w.dead["direct"] = true
			w.start(list("a", "/l/a"))
			w.wantRules("a", "a.example")
			s := w.status("a")
			if got := s.NextTry.Sub(w.now); got < due-10*time.Minute || got > due {
				t.Errorf("due in %v, want %v", got, due)
			}
			before.NextTry, s.NextTry = time.Time{}, time.Time{}
			if !reflect.DeepEqual(before, s) {
				t.Errorf("status %+v\nbefore %+v", s, before)
			}
			if known := w.m.entries[0].meta; known.ETag != `"x"` || known.Reader != readerVersion {
				t.Errorf("known %+v", known)
			}
		})
	}
}

func TestADamagedCopyIsNotUsed(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut short":       func(s string) string { return s[:len(s)-3] },
		"cut in the head": func(s string) string { return s[:40] },
		"another's":       func(string) string { return "a.example\n" },
		"changed":         func(s string) string { return strings.Replace(s, "a.example", "evil.example", 1) },
		"empty":           func(string) string { return "" },
		"a head of megabytes": func(s string) string {
			return strings.Replace(s, "# url", "# "+strings.Repeat("x", 1<<20)+"\n# url", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("/l/a", "a.example\n")
			w.start(list("a", "/l/a"))
			w.mustUpdate("a")
			text, err := os.ReadFile(w.m.flashPath("a"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.m.flashPath("a"), []byte(damage(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			// A daemon that runs keeps the rules that it has, and has it fetched.
			if _, err := w.m.Rules("a"); err == nil || errors.Is(err, ErrNoCopy) {
				t.Errorf("rules of a damaged copy: %v", err)
			}
			if s := w.status("a"); !strings.Contains(s.Error, "kept copy") || !s.NextTry.Equal(w.now) {
				t.Errorf("status %+v", s)
			}
			w.start(list("a", "/l/a"))
			if _, err := w.m.Rules("a"); !errors.Is(err, ErrNoCopy) {
				t.Errorf("rules after a start: %v", err)
			}
			w.mustUpdate("a")
			w.wantRules("a", "a.example")
		})
	}
}

// What is known of a list beside its rules may be lost: the rules are used all the
// same, and what is left of an earlier write is written over.
func TestDamagedStateOfAListIsAsIfThereWereNone(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut short":  func(s string) string { return s[:len(s)/2] },
		"empty":      func(string) string { return "" },
		"noise":      func(string) string { return "\x00\xff{" },
		"another's":  func(string) string { return `{"sum":"0","error":"never","rules":7}` },
		"wrong type": func(s string) string { return strings.Replace(s, `"rules":1`, `"rules":"1"`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("/l/a", "a.example\n")
			w.start(list("a", "/l/a"))
			w.mustUpdate("a")
			path := w.m.statePath("a", stateSuffix)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at, content := range map[string]string{path: damage(string(text)), path + ".new": "half", w.m.flashPath("a") + ".new": "half"} {
				if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.start(list("a", "/l/a"))
			w.wantRules("a", "a.example")
			if s := w.status("a"); s.Error != "" || s.Rules != 1 {
				t.Errorf("status %+v", s)
			}
			w.pass(48 * time.Hour)
			w.mustUpdate("a")
			if kept, ok := readState(path); !ok || kept.Rules != 1 || kept.Sum == "" {
				t.Errorf("the next state is %+v, %t", kept, ok)
			}
		})
	}
}

func TestWhereFlashCannotBeWrittenTheCopyIsInMemory(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\n")
	dir := w.opts.Dir
	if err := os.WriteFile(filepath.Dir(dir), []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(list("a", "/l/a"))
	w.mustUpdate("a")
	w.wantRules("a", "a.example")
	w.start(list("a", "/l/a")) // the daemon's, not the router's
	w.wantRules("a", "a.example")
	if err := os.Remove(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	w.changes()
	w.mustUpdate("a")
	if _, err := os.Stat(w.m.statePath("a", copySuffix)); !os.IsNotExist(err) || w.changes() {
		t.Errorf("the copy in memory stays: %v", err)
	}
	if _, err := os.Stat(w.m.flashPath("a")); err != nil {
		t.Error(err)
	}
	w.wantRules("a", "a.example")
}

func TestAListThatIsRemovedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\n")
	w.start(list("a", "/l/a"), list("b", "/l/a"))
	w.mustUpdate("a")
	w.mustUpdate("b")
	w.m.Set([]config.List{list("b", "/l/a")})
	if _, err := w.m.Rules("a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("rules of a removed list: %v", err)
	}
	if err := w.update("a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("update of a removed list: %v", err)
	}
	for _, dir := range []string{w.opts.Dir, filepath.Join(w.opts.StateDir, "lists")} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), "b.") {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	w.wantRules("b", "a.example")
}

func TestAnotherSourceKeepsTheOldRulesUntilItGivesSome(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\n")
	w.serve("/l/b", "b.example\n")
	w.start(list("x", "/l/a"))
	w.mustUpdate("x")
	w.m.Set([]config.List{list("x", "/l/b")})
	w.wantRules("x", "a.example")
	if s := w.status("x"); !strings.Contains(s.Error, "the source that stood in the settings before") || !s.NextTry.Equal(w.now) {
		t.Errorf("status %+v", s)
	}
	w.mustUpdate("x")
	w.wantRules("x", "b.example")
	if s := w.status("x"); s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

func TestWhatIsFetchedForOldSettingsIsDropped(t *testing.T) {
	w := newWorld(t)
	asked, go1 := make(chan struct{}), make(chan struct{})
	w.handle("/l/slow", func(rw http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-go1
		_, _ = rw.Write([]byte("slow.example\n"))
	})
	w.start(list("x", "/l/slow"))
	done := make(chan error)
	go func() { done <- w.m.Update(t.Context(), "x", nil) }()
	<-asked
	if s := w.status("x"); !s.Fetching {
		t.Error("the status does not say that it is being fetched")
	}
	w.m.Set([]config.List{list("x", "/l/other")})
	close(go1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := w.m.Rules("x"); !errors.Is(err, ErrNoCopy) || w.changes() {
		t.Errorf("rules: %v", err)
	}
	if left, _ := os.ReadDir(w.opts.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestNamesThatAreNoFileNamesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\n")
	for _, name := range []string{"", "..", "../x", "a/b", ".x", strings.Repeat("x", 65), "a\x00"} {
		w.start(list(name, "/l/a"))
		contains(t, w.update(name), "cannot be the name of a file")
		w.m.Set(nil)
	}
}

func rulesOf(t *testing.T, texts ...string) (rules []catalogue.Rule) {
	t.Helper()
	for _, s := range texts {
		r, err := catalogue.ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

func TestACopyIsAPlainListThatReadsBack(t *testing.T) {
	rules := rulesOf(t, "22.5.0.0/16", "2d00::/32", "a.example", "full:a.example")
	m := meta{
		Reader: 1, URL: "https://x/\ny: z", Format: "auto", Detected: "v2fly", ETag: `W/"a: b"`, Modified: "Mon, 01 Jun 2026 00:00:00 GMT",
		Updated: issued(), Rules: 4, Duplicates: 2, Skipped: 1, Unsupported: map[string]int{"other option": 3, "keyword": 1}, Sum: sumOf(rules),
	}
	path := filepath.Join(t.TempDir(), "d", "a.list")
	p, err := writeCopy(path, m, rules)
	if err == nil {
		err = p.commit()
	}
	got, headErr := checkCopy(path)
	m.URL = "https://x/?y: z"
	if err != nil || headErr != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("head %+v, %v, %v\nwant %+v", got, err, headErr, m)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, problems, err := catalogue.ParsePlain(bytes.NewReader(text)); err != nil || len(problems) > 0 || !reflect.DeepEqual(plain, rules) {
		t.Errorf("as a plain list: %v, %v, %v", plain, problems, err)
	}
}

// FuzzReadHead: whatever stands in a copy, its head is read within bounds.
func FuzzReadHead(f *testing.F) {
	m := meta{Sum: "x", Unsupported: map[string]int{"a": 1}}
	f.Add(m.head())
	f.Add(headFirst + "\n# sum: 1\n#\n#: \n# unsupported: =, a=b, c\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readHead(bufio.NewReader(strings.NewReader(text)))
		if err == nil && (got.Sum == "" || !strings.HasPrefix(text, headFirst)) {
			t.Errorf("%q is read as %+v", text, got)
		}
	})
}
