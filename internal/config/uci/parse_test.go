package uci

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// flat gives what a file says, one line a value: section, option, value.
func flat(f *File) string {
	var b strings.Builder
	for _, s := range f.Sections() {
		fmt.Fprintf(&b, "%s=%s\n", s.Ref, s.Type)
		for _, o := range s.Options {
			mark := "="
			if o.List {
				mark = "+="
			}
			for _, v := range o.Values {
				fmt.Fprintf(&b, "%s.%s%s%q\n", s.Ref, o.Name, mark, v)
			}
		}
	}
	return b.String()
}

func TestParseReadsWhatUCIReads(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"only comments", "# a\n\t # b\n\n", nil},
		{"as uci writes it", "\nconfig routerd 'main'\n\toption enabled '1'\n\tlist lan 'lan'\n\tlist lan 'guest'\n\n", []string{`main=routerd`, `main.enabled="1"`, `main.lan+="lan"`, `main.lan+="guest"`}},
		{"no newline at the end", "config t n\noption a b", []string{`n=t`, `n.a="b"`}},
		{"abbreviations", "p x\nc t n\no a b\nl d e\n", []string{`n=t`, `n.a="b"`, `n.d+="e"`}},
		{"package lines are ignored", "package routerd\nconfig t n\npackage 'other-one'\noption a b\n", []string{`n=t`, `n.a="b"`}},
		{"anonymous sections", "config t\noption a 1\nconfig u\nconfig t ''\noption a 2\n", []string{`@t[0]=t`, `@t[0].a="1"`, `@u[0]=u`, `@t[1]=t`, `@t[1].a="2"`}},
		{"quote inside single quotes", "config t n\noption a 'it'\\''s'\n", []string{`n=t`, `n.a="it's"`}},
		{"all quotings joined", "config t n\noption a 'a b'\"c d\"e\\ f\n", []string{`n=t`, `n.a="a bc de f"`}},
		{"escapes in double quotes", `config t n` + "\n" + `option a "\"\\\n\'"` + "\n", []string{`n=t`, `n.a="\"\\n'"`}},
		{"nothing is special in single quotes", "config t n\noption a '\\\"#;\\'\n", []string{`n=t`, `n.a="\\\"#;\\"`}},
		{"an empty option is none", "config t n\noption a ''\noption b\noption c \"\"\n", []string{`n=t`}},
		{"an empty option leaves the earlier value", "config t n\noption a 1\noption a ''\n", []string{`n=t`, `n.a="1"`}},
		{"an empty list item is one", "config t n\nlist a ''\nlist a\nlist a x\n", []string{`n=t`, `n.a+=""`, `n.a+=""`, `n.a+="x"`}},
		{"the last of two options", "config t n\noption a 1\noption a 2\n", []string{`n=t`, `n.a="2"`}},
		{"a list after an option goes on from it", "config t n\noption a 1\nlist a 2\n", []string{`n=t`, `n.a+="1"`, `n.a+="2"`}},
		{"an option after a list replaces it", "config t n\nlist a 1\nlist a 2\noption a 3\n", []string{`n=t`, `n.a="3"`}},
		{"a section opened again", "config t n\noption a 1\nconfig t m\nconfig t n\noption b 2\n", []string{`n=t`, `n.a="1"`, `n.b="2"`, `m=t`}},
		{"several lines in single quotes", "config t n\noption a 'x\n# no comment\n  y' # comment\noption b 1\n", []string{`n=t`, `n.a="x\n# no comment\n  y"`, `n.b="1"`}},
		{"several lines in double quotes", "config t n\noption a \"x\ny\\\nz\"\n", []string{`n=t`, `n.a="x\nyz"`}},
		{"a backslash joins lines in a word", "config t n\noption a x\\\ny\n", []string{`n=t`, `n.a="xy"`}},
		{"a backslash joins CRLF lines", "config t n\r\noption a x\\\r\ny\r\n", []string{`n=t`, `n.a="xy"`}},
		{"a backslash at the very end", "config t n\noption a x\\", []string{`n=t`, `n.a="x"`}},
		{"libuci's own multi-line sample", "config t n\noption a \\''line 1\nline 2 \\\nline 3'\\'\noption b \"\\\"Hello, \\\nWorld.\\'\n\"\n", []string{`n=t`, `n.a="'line 1\nline 2 \\\nline 3'"`, `n.b="\"Hello, World.'\n"`}},
		{"comment in the middle of a word", "config t n\noption a b#c\noption d 'e'#f\n", []string{`n=t`, `n.a="b"`, `n.d="e"`}},
		{"comment after config", "config t # n\noption a \\#b\n", []string{`@t[0]=t`, `@t[0].a="#b"`}},
		{"statements on one line", "config t 'n';option a 'b' ;option c d ; list e 'f';list e g # ;list e h\n", []string{`n=t`, `n.a="b"`, `n.c="d"`, `n.e+="f"`, `n.e+="g"`}},
		{"';' after an unquoted word with nothing behind", "config t n; \noption a b; # c\noption d e;\n", []string{`n=t`, `n.a="b"`, `n.d="e"`}},
		{"';' as a value", "config t n\noption a \\;b\noption c ';'\n", []string{`n=t`, `n.a=";b"`, `n.c=";"`}},
		{"empty word ends a statement too", "config t n\noption a b '' option c d\n", []string{`n=t`, `n.a="b"`, `n.c="d"`}},
		{"tabs and CRLF", "config\tt\t'n'\r\n\toption\ta\t'b'\r\n\r\n", []string{`n=t`, `n.a="b"`}},
		{"other white space between words", "config t\vn\f\n\v\foption a b\n", []string{`n=t`, `n.a="b"`}},
		{"types of visible characters", "config we!rd-'type~' n\n", []string{`n=we!rd-type~`}},
		{"quoted type", "config 'a#b;c' n\n", []string{`n=a#b;c`}},
		{"UTF-8 in values", "config t n\noption label 'Биржи'\n", []string{`n=t`, `n.label="Биржи"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("f", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if len(tt.want) > 0 {
				want = strings.Join(tt.want, "\n") + "\n"
			}
			if d := cmp.Diff(want, flat(f)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseRefusesWithLineAndColumn(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown statement", "config t n\n  optoin a b\n", `f:2:3: "optoin" is not a statement; config, option, list, package or # is expected`},
		{"quoted keyword", "'config' t\n", `f:1:1: "'config'" is not a statement; config, option, list, package or # is expected`},
		{"keyword alone", "config t\noption\n", `f:2:1: option stands without a name`},
		{"keyword alone at the end", "config", `f:1:1: config stands without a name`},
		{"config without type", "config \n", `f:1:1: config stands without a section type`},
		{"package without name", "package ''\n", `f:1:1: package stands without a package name`},
		{"option first", "# x\noption a b\n", `f:2:1: option stands before the first config line`},
		{"list first", "list a b\n", `f:1:1: list stands before the first config line`},
		{"two values", "config t n\noption a b c\n", `f:2:12: "c" is one word too many after option; put a value with blanks between single quotes`},
		{"two section names", "config t n m\n", `f:1:12: "m" is one word too many after config; put a value with blanks between single quotes`},
		{"section name", "config t a-b\n", `f:1:10: section name "a-b" is not valid: it is made of letters, digits and '_'`},
		{"option name", "config t n\noption a.b c\n", `f:2:8: name "a.b" is not valid: it is made of letters, digits and '_'`},
		{"package name", "package a.b\n", `f:1:9: package name "a.b" is not valid: it is made of letters, digits, '_' and '-'`},
		{"type", "config 'a b'\n", `f:1:8: section type "a b" is not valid: it is made of visible ASCII characters`},
		{"open single quote", "config t n\n\toption a 'b\n\n", `f:2:11: no ' closes the one that opens here`},
		{"open double quote", "config t n\n\toption a \"b\\\"\n", `f:2:11: no " closes the one that opens here`},
		{"open double quote, backslash at the end", "config t \"\\", `f:1:10: no " closes the one that opens here`},
		{"column counts characters", "config t n\noption a 'ж' ж ж\n", `f:2:14: "ж" is one word too many after option; put a value with blanks between single quotes`},
		{"other type", "config t n\nconfig u n\n", `f:2:8: section "n" of type u stands already in line 1 with type t; a name can be used once in a file`},
		{"byte zero", "config t n\noption a 'b\x00'\n", `f:2:12: a byte of value zero: this is not a text file`},
		{"byte order mark", "\ufeffconfig t\n", `f:1:1: a byte order mark; save the file as UTF-8 without one`},
		{"dropped by libuci", "config t n\noption a b;option c d\n", `f:2:11: uci ignores what follows this ';'; put a blank before it, or use a line for each statement`},
		{"nothing after ;", "config t 'n';\n", `f:1:14: nothing follows ';'; remove it`},
		{"; as missing value", "config t n\noption 'a';option c d\n", `f:2:12: "option" is one word too many after option; put a value with blanks between single quotes`},
		{"; alone", "config t n\n;\n", `f:2:1: nothing follows ';'; remove it`},
		{"long word", "x" + strings.Repeat("y", 100) + "\n", `f:1:1: "x` + strings.Repeat("y", 59) + `…" is not a statement; config, option, list, package or # is expected`},
		{"blank after a joined line", "config t n\noption a \\\n b\n", `f:3:2: "b" is one word too many after option; put a value with blanks between single quotes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.text))
			var fault *Error
			if !errors.As(err, &fault) {
				t.Fatalf("error %v, want one of type *Error", err)
			}
			if d := cmp.Diff(tt.want, err.Error()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseBoundsItsInput(t *testing.T) {
	big := "config t n\n" + strings.Repeat("#", MaxSize)
	if _, err := Parse("f", []byte(big)); err == nil || !strings.Contains(err.Error(), "at most 4194304 are read") {
		t.Errorf("a file over MaxSize: %v", err)
	}
	if _, err := Parse("f", []byte(big[:MaxSize])); err != nil {
		t.Errorf("a file of MaxSize: %v", err)
	}
	many := "config t n\n" + strings.Repeat("l a b\n", maxStatements)
	if _, err := Parse("f", []byte(many)); err == nil || !strings.Contains(err.Error(), "f:100001:1: more than 100000 statements") {
		t.Errorf("too many statements: %v", err)
	}
}

func TestParseTellsLines(t *testing.T) {
	f, err := Parse("f", []byte("# c\nconfig t n\nlist a 'x\ny'\n\nlist a z\nconfig t n\noption b 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := f.Section("n")
	a, _ := s.Option("a")
	b, _ := s.Option("b")
	if d := cmp.Diff([][]int{{2, 7}, {3, 6}, {8}}, [][]int{s.Lines, a.Lines, b.Lines}); d != "" {
		t.Error(d)
	}
}

func TestSectionIsFoundByNameAndIndex(t *testing.T) {
	f, err := Parse("f", []byte("config t\nconfig u x\nconfig t y\nconfig t\n"))
	if err != nil {
		t.Fatal(err)
	}
	for ref, line := range map[string]int{
		"x": 2, "y": 3, "@t[0]": 1, "@t[1]": 3, "@t[2]": 4, "@t[-1]": 4, "@t[-3]": 1, "@u[0]": 2,
		"@t[3]": 0, "@t[-4]": 0, "@t": 0, "@t[]": 0, "@t[a]": 0, "@[0]": 0, "": 0, "z": 0, "@": 0,
	} {
		s, ok := f.Section(ref)
		if ok != (line > 0) || ok && s.Lines[0] != line {
			t.Errorf("section %q: %+v, want the one in line %d", ref, s, line)
		}
	}
}

func TestFormatIsWhatUCIWrites(t *testing.T) {
	const text = "package x # c\nc t n;\no a \"it's\"\nl b 1\nl b '2\n3'\nconfig 'q;t'\no c d\n"
	const want = "\nconfig t 'n'\n\toption a 'it'\\''s'\n\tlist b '1'\n\tlist b '2\n3'\n\nconfig 'q;t'\n\toption c 'd'\n\n"
	f, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(f.Format())); d != "" {
		t.Error(d)
	}
}
