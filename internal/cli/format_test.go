package cli

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/control"
)

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.0K", 1536: "1.5K", 1048575: "1.0M", 1048576: "1.0M",
		1288490188: "1.2G", 1 << 50: "1.0P", 1<<64 - 1: "16.0E",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAgeText(t *testing.T) {
	for s, want := range map[int64]string{
		-5: "0s", 0: "0s", 59: "59s", 60: "1m 0s", 3599: "59m 59s", 3600: "1h 0m", 86399: "23h 59m", 86400: "1d 0h", 9e6: "104d 4h",
	} {
		if got := ageText(s); got != want {
			t.Errorf("ageText(%d) = %q, want %q", s, got, want)
		}
	}
}

func TestRTTText(t *testing.T) {
	for _, tc := range []struct {
		ms   *float64
		want string
	}{{nil, "-"}, {ptr(0.42), "0.4 ms"}, {ptr(9.0), "9.0 ms"}, {ptr(48.6), "49 ms"}} {
		if got := rttText(tc.ms); got != tc.want {
			t.Errorf("rttText = %q, want %q", got, tc.want)
		}
	}
}

func TestTableIsCutWhereItMayBe(t *testing.T) {
	tb := &table{columns: []column{{title: "A"}, {title: "B", least: 6}, {title: "C", right: true}}}
	tb.add("a note that is long enough to be wrapped here", text("fixed"), text("something rather long"), text("7"))
	tb.add("", text("x"), text("\x1b]0;title\x07"), text("1234"))
	for _, tc := range []struct {
		width int
		want  string
	}{
		{80, "A      B                         C\nfixed  something rather long     7\n  a note that is long enough to be wrapped here\nx      ?]0;title?             1234"},
		{24, "A      B               C\nfixed  something ra~     7"},
		{10, "A      B          C\nfixed  somet~     7"}, // no narrower than may be
	} {
		got := strings.Join(tb.lines(terminal{}, tc.width), "\n")
		if tc.width == 80 && got != tc.want {
			t.Errorf("at %d columns:\n%s\nwant\n%s", tc.width, got, tc.want)
		}
		for _, line := range tb.lines(terminal{}, tc.width) {
			if len(line) > max(tc.width, 19) {
				t.Errorf("at %d columns a line has %d: %q", tc.width, len(line), line)
			}
		}
	}
}

func TestWrapKeepsEveryWord(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"one", "  one"},
		{"one two three four", "  one two\n  three\n  four"},
		{"averyveryverylongword x", "  averyveryverylongword\n  x"},
	} {
		if got := strings.Join(wrap(tc.in, "  ", 10), "\n"); got != tc.want {
			t.Errorf("wrap(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestProblemTextNamesPlaceAndValue(t *testing.T) {
	for _, tc := range []struct {
		problem control.Problem
		want    string
	}{
		{fixtureProblems()[0], "note: section main, option metrics_listen, value \"127.0.0.1:9100\"\n    not active yet"},
		{control.Problem{Level: "error", Section: "a", Text: "x"}, "error: section a\n    x"},
		{control.Problem{Level: "error", Text: "the file is empty"}, "error: the file is empty"},
		{control.Problem{Level: "error", Option: "o", Value: "\x1b[31m", Text: "is \x07"}, "error: option o, value \"\\x1b[31m\"\n    is ?"},
	} {
		if got := strings.Join(problemLines(tc.problem, plainWidth), "\n"); got != tc.want {
			t.Errorf("problemLines(%+v) = %q, want %q", tc.problem, got, tc.want)
		}
	}
}

func TestVersionTellsTargetAndCommit(t *testing.T) {
	got := strings.Join(versionLines(&debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "GOMIPS", Value: "softfloat"},
		{Key: "vcs.revision", Value: "0123abc"},
		{Key: "vcs.modified", Value: "true"},
		{Key: "CGO_ENABLED", Value: "0"},
	}}), "\n")
	for _, want := range []string{"routerd " + release, "go      go1.", "GOMIPS=softfloat", "commit  0123abc, modified"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if lines := versionLines(nil); len(lines) != 3 {
		t.Errorf("a build that says nothing of itself: %q", lines)
	}
	call(t, "", "version").want(t, exitDone, "routerd "+release+"\n", "")
}
