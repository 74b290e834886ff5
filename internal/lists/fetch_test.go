package lists

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestUpdateFetchesSortsAndKeeps(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "example.org @cn\nfull:z.example.net\n22.5.0.0/16\nb.example.net\nexample.org\nkeyword:x\ncom\n")
	w.start(list("a", "/l/a"))
	if _, err := w.m.Rules("a"); !errors.Is(err, ErrNoCopy) {
		t.Errorf("before the first fetch: %v", err)
	}
	w.mustUpdate("a")
	w.wantRules("a", "22.5.0.0/16", "b.example.net", "example.org", "full:z.example.net")
	want := Status{
		Name: "a", URL: "https://lists.example/l/a", Destination: "exchanges", Format: "v2fly", Rules: 4, Duplicates: 1, Skipped: 1,
		Unsupported: map[string]int{"keyword": 1}, Updated: w.now, Checked: w.now, NextTry: w.now.Add(time.Hour),
		Problems: []string{`line 7: rule "com": a single word would be the whole top-level domain; write at least two parts, like example.com`},
		Sum:      "f3ac46ab93f9066fccc97d77d535a0587040a3b9d4d38aa10c433528ceebff7d", // printf of the rules in a line each | sha256sum
	}
	if s := w.status("a"); !reflect.DeepEqual(s, want) {
		t.Errorf("status %+v\nwant %+v", s, want)
	}
	if !w.changes() || w.changes() {
		t.Error("a new list must be told as changed, once")
	}
	for path, mode := range map[string]os.FileMode{w.opts.Dir: 0o700, w.m.flashPath("a"): 0o600} {
		if got := w.stat(path).Mode().Perm(); got != mode {
			t.Errorf("%s: %v, want %v", path, got, mode)
		}
	}
	text, _ := os.ReadFile(w.m.flashPath("a"))
	if !strings.HasSuffix(string(text), "\n22.5.0.0/16\nb.example.net\nexample.org\nfull:z.example.net\n") || !strings.Contains(string(text), "# url: https://lists.example/l/a\n") {
		t.Errorf("the copy is\n%s", text)
	}
}

func TestRequestsSayNothingOfWhoAsks(t *testing.T) {
	w := newWorld(t)
	var heads []http.Header
	w.handle("/l/a", func(rw http.ResponseWriter, r *http.Request) {
		heads = append(heads, r.Header.Clone())
		http.Redirect(rw, r, "/l/b?token=1", http.StatusFound)
	})
	w.handle("/l/b", func(rw http.ResponseWriter, r *http.Request) {
		heads = append(heads, r.Header.Clone())
		_, _ = rw.Write([]byte("a.example\n"))
	})
	w.start(list("a", "/l/a"))
	w.mustUpdate("a")
	if len(heads) != 2 {
		t.Fatalf("%d requests", len(heads))
	}
	for _, h := range heads {
		if h.Get("User-Agent") != userAgent || h.Get("Referer") != "" || strings.Contains(fmt.Sprint(h), "routerd") {
			t.Errorf("request %v", h)
		}
	}
}

func TestCompressedListsAreReadWithProgress(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "n%d.site%d.example\n", i, i*7919%20011)
	}
	text := b.String()
	for name, body := range map[string]string{"plain": text, "gzip": zip(t, text), "gzip twice": zip(t, zip(t, text))} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.handle("/l/a.gz", func(rw http.ResponseWriter, r *http.Request) {
				if name != "plain" && r.Header.Get("Accept-Encoding") == "gzip" {
					rw.Header().Set("Content-Encoding", "gzip")
				}
				rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = rw.Write([]byte(body))
			})
			w.start(list("a", "/l/a.gz"))
			var seen []Progress
			if err := w.m.Update(t.Context(), "a", func(p Progress) { seen = append(seen, p) }); err != nil {
				t.Fatal(err)
			}
			if s := w.status("a"); s.Rules != 20000 {
				t.Errorf("%d rules", s.Rules)
			}
			last := seen[len(seen)-1]
			if len(body) > 2*progressStep && len(seen) < 2 || last != (Progress{List: "a", Path: "direct", Done: int64(len(body)), Total: int64(len(body))}) {
				t.Errorf("progress %v of %d bytes", seen, len(body))
			}
		})
	}
}

func TestUnchangedContentIsAskedForByConditionAndFlashIsNotWritten(t *testing.T) {
	w := newWorld(t)
	etag, text := `"one"`, "b.example\na.example\n"
	var asked []string
	w.handle("/l/a", func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since"))
		rw.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = rw.Write([]byte(text))
	})
	w.start(list("a", "/l/a"))
	w.mustUpdate("a")
	before := w.stat(w.m.flashPath("a"))
	w.changes()
	first := w.now
	w.pass(time.Hour)
	w.mustUpdate("a") // 304
	etag, text = `"two"`, "# another head\na.example\nb.example\n"
	w.pass(time.Hour)
	w.mustUpdate("a") // the same rules in other words
	if after := w.stat(w.m.flashPath("a")); !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("the copy was written again")
	}
	if s := w.status("a"); w.changes() || !s.Updated.Equal(first) || !s.Checked.Equal(w.now) {
		t.Errorf("status %+v", s)
	}
	w.start(list("a", "/l/a")) // what came with a 304 and later is kept, in memory
	w.mustUpdate("a")
	if want := []string{"", `"one"`, `"one"`, `"two"`}; !slices.Equal(asked, want) {
		t.Errorf("asked with %q, want %q", asked, want)
	}
	text, etag = "c.example\n", `"three"`
	w.mustUpdate("a")
	if !w.changes() {
		t.Error("a change is not told")
	}
	w.wantRules("a", "c.example")
}

// faults are publishers that give nothing usable.
func faults(t *testing.T, w *world) map[string]struct{ path, want string } {
	w.t = t
	answer := func(path string, h http.HandlerFunc) string { w.handle(path, h); return path }
	text := func(path, s string) string { w.serve(path, s); return path }
	redirect := func(path, to string) string {
		return answer(path, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusFound)
		})
	}
	endless := func(piece string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := rw.Write([]byte(piece)); err != nil {
					return
				}
			}
		}
	}
	w.at["router.example"] = netip.MustParseAddr("192.168.1.1")
	w.at["nat64.example"] = netip.MustParseAddr("64:ff9b::10.0.0.1")
	w.at["six.example"] = netip.MustParseAddr("fd00::1")
	many := strings.Repeat("# a comment of some length that says nothing at all, again and again\n", 1000)
	return map[string]struct{ path, want string }{
		"not there":           {"/l/none", `"404 Not Found"`},
		"a block page":        {text("/l/page", "<html>blocked</html>"), "a web page"},
		"nothing in it":       {text("/l/empty", "# soon\n"), "nothing in the list is a rule"},
		"nothing that may be": {text("/l/bad", "com\nco.uk\n0.0.0.0/0\n192.168.0.0/16\n"), "the first of 4 that are wrong"},
		"binary":              {text("/l/binary", "a\x00b"), "binary"},
		"endless rubbish":     {answer("/l/endless", endless("!\n")), "more than 65536 entries are wrong"},
		"endless repetition":  {answer("/l/again", endless("same.example\n")), "at most 1048576 bytes"},
		"an endless line":     {answer("/l/line", endless("x")), "at most 1048576 bytes"},
		"a gzip bomb":         {text("/l/bomb", zip(t, strings.Repeat(many, 20))), "at most 1048576 bytes"},
		"broken gzip":         {text("/l/broken", zip(t, "a.example\n")[:20]), "unexpected EOF"},
		"endless empty gzip":  {answer("/l/zips", endless(zip(t, ""))), "at most 1048576 bytes"},
		"a 304 unasked": {answer("/l/304", func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusNotModified)
		}), "304"},
		"cut short": {answer("/l/short", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write([]byte("a.example\n"))
		}), "unexpected EOF"},
		"stalling": {answer("/l/stall", func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write([]byte("a.example\n"))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}), "nothing was received"},
		"never answering":       {answer("/l/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "timeout"},
		"a redirect in a ring":  {redirect("/l/ring", "/l/ring"), "more than 5 redirects"},
		"a redirect to a file":  {redirect("/l/file", "file:///etc/shadow"), "redirect to file:// is refused"},
		"to plain text":         {redirect("/l/http", "http://lists.example/l/x"), "from https to http"},
		"to the router":         {redirect("/l/router", "https://192.168.1.1/cgi-bin/luci"), "private address 192.168.1.1, is refused"},
		"to a name inside":      {redirect("/l/name", "https://router.example/"), "private address 192.168.1.1"},
		"to loopback":           {redirect("/l/loop", "https://127.0.0.1/"), "private address 127.0.0.1"},
		"to a ULA":              {redirect("/l/six", "https://six.example/"), "private address fd00::1"},
		"to a NAT64 address":    {redirect("/l/nat", "https://nat64.example/"), "private address 64:ff9b::a00:1"},
		"with a user name":      {redirect("/l/user", "https://a:b@lists.example/"), "user name"},
		"another's certificate": {redirect("/l/cert", "https://other.example/"), "not other.example"},
		"no address":            {"https:///x", "is not https://, http:// or file://"},
		"another scheme":        {"ftp://lists.example/x", "is not https://, http:// or file://"},
	}
}

func TestAFetchThatGivesNothingKeepsTheLastGoodContent(t *testing.T) {
	w := newWorld(t)
	for name, f := range faults(t, w) {
		t.Run(name, func(t *testing.T) {
			w.t = t
			writeGood(t, w, "a")
			w.start(list("a", f.path))
			w.m.limits.size = 1 << 20 // 16 takes the race detector a minute
			if name == "stalling" || name == "never answering" {
				w.m.limits.stall, w.m.limits.header = 50*time.Millisecond, 50*time.Millisecond
			}
			err := w.update("a")
			contains(t, err, f.want)
			w.wantRules("a", "good.example")
			w.wantFailed("a", f.want)
			if left, _ := os.ReadDir(w.opts.Dir); len(left) != 1 || w.changes() {
				t.Errorf("left on flash: %v", left)
			}
		})
	}
}

// wantFailed says that the last fetch failed and is tried again soon.
func (w *world) wantFailed(name, text string) {
	w.t.Helper()
	s := w.status(name)
	wait := s.NextTry.Sub(w.now)
	if !strings.Contains(s.Error, text) || strings.ContainsRune(s.Error, '\n') || wait < firstBackoff/2 || wait > 2*firstBackoff {
		w.t.Errorf("status %+v", s)
	}
}

// writeGood leaves a copy on flash, as an earlier process would.
func writeGood(t *testing.T, w *world, name string) {
	t.Helper()
	rules := rulesOf(t, "good.example")
	p, err := w.m.write(name, meta{Rules: 1, Sum: sumOf(rules), URL: "https://lists.example/l/good", Format: "auto"}, rules)
	if err == nil {
		err = p.commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAListWithTooManyRulesIsRefused(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\nb.example\nc.example\n")
	w.start(list("a", "/l/a"))
	w.m.limits.rules = 2
	if err := w.update("a"); !errors.Is(err, catalogue.ErrListTooLarge) {
		t.Errorf("error %v, want ErrListTooLarge", err)
	}
}

func TestRedirectsToPublicServersAreFollowed(t *testing.T) {
	w := newWorld(t)
	w.handle("/l/to-tls", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://lists.example/l/b", http.StatusMovedPermanently)
	})
	w.serve("/l/b", "b.example\n")
	w.start(list("plain", "http://old.example:80/l/to-tls"))
	w.mustUpdate("plain")
	w.wantRules("plain", "b.example")
	if want := []string{"direct old.example:80", "direct lists.example:443"}; !slices.Equal(w.dialled, want) {
		t.Errorf("dialled %q, want %q", w.dialled, want)
	}
}

func TestTheUsersOwnAddressMayBePrivate(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/nas", "nas.example.com\n")
	w.start(list("nas", "http://192.168.1.2:8080/l/nas"))
	w.mustUpdate("nas")
	w.wantRules("nas", "nas.example.com")
}

func TestPathsAreTriedInOrder(t *testing.T) {
	w := newWorld(t)
	w.serve("/l/a", "a.example\n")
	paths := []string{"home", "direct"}
	w.opts.Paths = func(config.List) []string { return paths }
	w.start(list("a", "/l/a"))
	w.dead["home"] = true
	w.mustUpdate("a")
	if want := []string{"home lists.example:443", "direct lists.example:443"}; !slices.Equal(w.dialled, want) {
		t.Errorf("dialled %q, want %q", w.dialled, want)
	}
	w.dead["direct"] = true
	contains(t, w.update("a"), "list a: over home: i/o timeout; over direct: i/o timeout")
	paths = nil
	contains(t, w.update("a"), "no path can be used")
}

func TestCertificatesAreCheckedBeforeTheClockIsSet(t *testing.T) {
	for name, tc := range map[string]struct {
		now, floor time.Time
		want       string
	}{
		"the clock is set":                {issued().AddDate(0, 1, 0), issued(), ""},
		"issued after the build":          {time.Unix(100, 0), issued().AddDate(0, -3, 0), ""},
		"issued before the build":         {time.Unix(100, 0), issued().AddDate(0, 3, 0), ""},
		"ended before the build":          {time.Unix(100, 0), issued().AddDate(2, 0, 0), "expired"},
		"ended by now":                    {issued().AddDate(2, 0, 0), issued(), "expired"},
		"not yet valid by a clock so set": {issued().AddDate(0, 0, -1), issued().AddDate(0, 0, -2), "not yet valid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("/l/a", "a.example\n")
			w.now, w.opts.Floor = tc.now, tc.floor
			w.start(list("a", "/l/a"))
			err := w.update("a")
			if tc.want == "" {
				if s := w.status("a"); err != nil || s.Updated.Before(tc.floor) {
					t.Errorf("error %v, status %+v", err, s)
				}
				return
			}
			contains(t, err, tc.want)
		})
	}
	w := newWorld(t)
	w.opts.Roots = newAuthority(t).pool()
	w.serve("/l/a", "a.example\n")
	w.start(list("a", "/l/a"))
	contains(t, w.update("a"), "unknown authority")
}
