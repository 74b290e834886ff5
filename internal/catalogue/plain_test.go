package catalogue

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func ruleStrings(rules []Rule) []string {
	out := []string{}
	for _, r := range rules {
		out = append(out, r.String())
	}
	return out
}

func TestParsePlainReadsRulesAndSkipsComments(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{}},
		{"only comments", "# a\n\n   # b\n#\n", []string{}},
		{"one rule with no line end", "example.org", []string{"example.org"}},
		{"every kind", "example.org\nfull:a.example.org\n203.0.113.0/24\n2001:db8::1\n", []string{"example.org", "full:a.example.org", "203.0.113.0/24", "2001:db8::1"}},
		{"comment after a rule", "example.org # why\nexample.net#why\n", []string{"example.org", "example.net"}},
		{"CRLF", "example.org\r\n\r\nexample.net\r\n", []string{"example.org", "example.net"}},
		{"byte order mark", "\ufeffexample.org\n", []string{"example.org"}},
		{"byte order mark before a comment", "\ufeff# list\nexample.org\n", []string{"example.org"}},
		{"spaces and tabs", "\t example.org \t\n", []string{"example.org"}},
		{"repetitions stay", "example.org\nexample.org\n", []string{"example.org", "example.org"}},
		{"the longest line", "example.org #" + strings.Repeat("x", MaxListLine-len("example.org #")) + "\r\nexample.net\n", []string{"example.org", "example.net"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for kind, r := range map[string]io.Reader{
				"whole":      strings.NewReader(tt.text),
				"bytewise":   iotest.OneByteReader(strings.NewReader(tt.text)),
				"early EOFs": iotest.DataErrReader(strings.NewReader(tt.text)),
			} {
				rules, problems, err := ParsePlain(r)
				if err != nil || len(problems) > 0 {
					t.Errorf("%s: problems %v, error %v", kind, problems, err)
				}
				if got := ruleStrings(rules); !slices.Equal(got, tt.want) {
					t.Errorf("%s: rules %q, want %q", kind, got, tt.want)
				}
			}
		})
	}
}

func TestParsePlainTellsWrongLinesAndGoesOn(t *testing.T) {
	text := "example.org\ncom\n\n# x\nexam ple.org\r\n" + strings.Repeat("y", 3*MaxListLine) + "\nexample.net\n*\n\x00\xff\n"
	rules, problems, err := ParsePlain(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := ruleStrings(rules); !slices.Equal(got, []string{"example.org", "example.net"}) {
		t.Errorf("rules are %q", got)
	}
	want := []struct {
		line      int
		text, err string
	}{
		{2, "com", "top-level domain"},
		{5, "exam ple.org", "more than one word"},
		{6, "", "longer than 1024 bytes"},
		{8, "*", "wildcard"},
		{9, "\x00\xff", "not allowed"},
	}
	if len(problems) != len(want) {
		t.Fatalf("problems are %v", problems)
	}
	for i, w := range want {
		p := problems[i]
		if p.Line != w.line || p.Text != w.text || !strings.Contains(p.String(), w.err) {
			t.Errorf("problem %d is %+v; want line %d, %q, %q", i, p, w.line, w.text, w.err)
		}
	}
	if s := problems[0].String(); !strings.HasPrefix(s, "line 2: ") {
		t.Errorf("String() = %q", s)
	}
}

func TestParsePlainBoundsTheProblemsItTells(t *testing.T) {
	rules, problems, err := ParsePlain(strings.NewReader(strings.Repeat("!\n", MaxListProblems+7) + "example.org\n"))
	if err != nil || len(rules) != 1 {
		t.Fatalf("rules %v, error %v", rules, err)
	}
	if len(problems) != MaxListProblems+1 {
		t.Fatalf("%d problems, want %d", len(problems), MaxListProblems+1)
	}
	if last := problems[MaxListProblems]; last.Line != 0 || last.String() != "and 7 more lines are wrong" {
		t.Errorf("last problem is %q of line %d", last, last.Line)
	}
}

// endless gives the same bytes for ever.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func TestParsePlainStopsAtTheLargestSize(t *testing.T) {
	for want, text := range map[string]endless{
		"at most 131072 rules":  "example.org\n",
		"at most 8388608 bytes": "x",
	} {
		rules, _, err := ParsePlain(text)
		if !errors.Is(err, ErrListTooLarge) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want ErrListTooLarge that says %q", err, want)
		}
		if len(rules) > MaxListRules {
			t.Errorf("%d rules are read", len(rules))
		}
	}
}

func TestParsePlainAcceptsAListOfExactlyTheLargestSize(t *testing.T) {
	line := "#" + strings.Repeat("x", 1022) + "\n"
	text := strings.Repeat(line, MaxListSize/len(line)-1) + "example.org" + strings.Repeat(" ", len(line)-len("example.org"))
	if len(text) != MaxListSize {
		t.Fatalf("the list is %d bytes", len(text))
	}
	rules, problems, err := ParsePlain(strings.NewReader(text))
	if err != nil || len(problems) > 0 || len(rules) != 1 {
		t.Errorf("rules %v, problems %v, error %v", rules, problems, err)
	}
}

func TestParsePlainGivesTheReadersErrorWithTheLine(t *testing.T) {
	broken := errors.New("disk on fire")
	rules, _, err := ParsePlain(io.MultiReader(strings.NewReader("example.org\nexample.net\nexam"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("error %v", err)
	}
	if len(rules) != 2 {
		t.Errorf("rules %v, want those before the error", rules)
	}
}

func TestParsePlainNamesUTF16(t *testing.T) {
	for _, text := range []string{"\xff\xfee\x00x\x00", "\xfe\xff\x00e\x00x"} {
		if _, _, err := ParsePlain(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("error %v", err)
		}
	}
}

// FuzzParsePlain: every line is a rule, a problem or empty; rules read back
// from their own list as the same rules.
func FuzzParsePlain(f *testing.F) {
	for _, s := range []string{
		"", "example.org", "\ufeffexample.org\r\nfull:a.example.org # x\n203.0.113.0/24\n", "com\n\n!\n*.example.org",
		"\xff\xfe", "\r\r\n", "a.b\x00\n", strings.Repeat("x", 1100) + "\nexample.org", "#\n#\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, problems, err := ParsePlain(strings.NewReader(text))
		checkProblems(t, problems, strings.Count(text, "\n")+1-len(rules))
		if err != nil {
			return
		}
		again, problems, err := ParsePlain(strings.NewReader(strings.Join(ruleStrings(rules), "\r\n")))
		if err != nil || len(problems) > 0 || !slices.Equal(again, rules) {
			t.Fatalf("rules %v read back as %v, %v, %v", rules, again, problems, err)
		}
	})
}

// checkProblems takes the number of lines that gave no rule.
func checkProblems(t *testing.T, problems []LineProblem, lines int) {
	t.Helper()
	if len(problems) > lines {
		t.Fatalf("%d lines gave %d problems", lines, len(problems))
	}
	last := 0
	for _, p := range problems[:min(len(problems), MaxListProblems)] {
		if p.Line <= last || p.Err == nil || len(p.Text) > maxShown+len("…") {
			t.Fatalf("problem %+v after line %d", p, last)
		}
		last = p.Line
	}
}
