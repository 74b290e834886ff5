package uci

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// edit makes an edit of its words: set|add|del REF OPTION VALUE, unset REF
// OPTION, new TYPE NAME, drop REF.
func edit(f *File, words ...string) error {
	switch words[0] {
	case "set":
		return f.Set(words[1], words[2], words[3])
	case "add":
		return f.AddList(words[1], words[2], words[3])
	case "del":
		_, err := f.RemoveList(words[1], words[2], words[3])
		return err
	case "unset":
		return f.Delete(words[1], words[2])
	case "new":
		_, err := f.AddSection(words[1], words[2])
		return err
	}
	return f.DeleteSection(words[1])
}

func TestEditsChangeNothingElse(t *testing.T) {
	const text = "# top\nconfig t 'n' # n\n  option a \"old\"   # why\n\n  # list\n  list l x\n  list l 'y' # y\n\n# u\nconfig u\n\toption b 1\n"
	for _, tt := range []struct {
		name, text string
		edit       []string
		want       string
	}{
		{"set keeps the comment", text, []string{"set", "n", "a", "it's"}, strings.Replace(text, `"old"`, `'it'\''s'`, 1)},
		{"set of a new option goes below the last one", text, []string{"set", "n", "z", "1"}, strings.Replace(text, "# y\n", "# y\n  option z '1'\n", 1)},
		{"set in an anonymous section", text, []string{"set", "@u[0]", "b", "2"}, strings.Replace(text, "b 1", "b '2'", 1)},
		{"set in an empty section", "config t n\n# c\n", []string{"set", "n", "a", "1"}, "config t n\n\toption a '1'\n# c\n"},
		{"set over several statements", "config t n\no a 1 # one\no b 1\no a 2 # two\nl a 3\n", []string{"set", "n", "a", "4"}, "config t n\no a '4' # one\no b 1\n# two\n"},
		{"set over a list", "config t n\nlist a 1\nlist a 2\n", []string{"set", "n", "a", "4"}, "config t n\noption a '4'\n"},
		{"set of an option without a value", "config t n\noption a # c\noption b ''\n", []string{"set", "n", "a", "4"}, "config t n\noption a '4' # c\noption b ''\n"},
		{"set of an option with an empty value", "config t n\noption a # c\noption b ''\n", []string{"set", "n", "b", "4"}, "config t n\noption a # c\noption b '4'\n"},
		{"set of a value of several lines", "config t n\noption a 'x\ny' # c\noption b 1\n", []string{"set", "n", "a", "z"}, "config t n\noption a 'z' # c\noption b 1\n"},
		{"set to a value of several lines", "config t n\noption a b\n", []string{"set", "n", "a", "x\ny"}, "config t n\noption a 'x\ny'\n"},
		{"set in a section that stands twice", "config t n\no a 1\nconfig t m\nconfig t n\no b 1\n", []string{"set", "n", "c", "1"}, "config t n\no a 1\nconfig t m\nconfig t n\no b 1\noption c '1'\n"},
		{"set before a comment in the word", "config t n\noption a b#c\n", []string{"set", "n", "a", "d"}, "config t n\noption a 'd'#c\n"},
		{"set where ';' ends the line", "config t n\noption a b;\n", []string{"set", "n", "a", "d"}, "config t n\noption a 'd'\n"},
		{"set where ';' is before the comment", "config t n\noption a b; # c\n", []string{"set", "n", "a", "d"}, "config t n\noption a 'd' # c\n"},
		{"set between ';'", "config t n ;option a b ;option c 'd';option e f\n", []string{"set", "n", "c", "x"}, "config t n ;option a b ;option c 'x';option e f\n"},
		{"set before an empty word as separator", "config t n ;option a b '' option c d\n", []string{"set", "n", "a", "x"}, "config t n ;option a 'x' ;option c d\n"},
		{"set of a joined value", "config t n\noption a x\\\ny\\\n\noption b c\n", []string{"set", "n", "a", "z"}, "config t n\noption a 'z'\noption b c\n"},
		{"set keeps CRLF", "config t n\r\n\toption a b\r\n", []string{"set", "n", "c", "d"}, "config t n\r\n\toption a b\r\n\toption c 'd'\r\n"},
		{"set without a newline at the end", "config t n\n\toption a b", []string{"set", "n", "c", "d"}, "config t n\n\toption a b\n\toption c 'd'"},
		{"set after a backslash at the end", "config t n\n\toption a b\\", []string{"set", "n", "c", "d"}, "config t n\n\toption a b\\\n\n\toption c 'd'"},
		{"set after an empty word at the end", "config t n '' ", []string{"set", "n", "c", "d"}, "config t n\n\toption c 'd'"},
		{"new option where the next section is on the line", "config t n ;config t m ;option a b\n", []string{"set", "n", "c", "d"}, "config t n ;option c 'd' ;config t m ;option a b\n"},

		{"add to a list", text, []string{"add", "n", "l", "z"}, strings.Replace(text, "# y\n", "# y\n  list l 'z'\n", 1)},
		{"add to a list in the middle", "config t n\nlist l a\noption b c\n", []string{"add", "n", "l", "z"}, "config t n\nlist l a\nlist l 'z'\noption b c\n"},
		{"add a new list", text, []string{"add", "@u[0]", "l", "z"}, text + "\tlist l 'z'\n"},
		{"add to a list on one line", "config t n ;list l a ;option b c\n", []string{"add", "n", "l", "z"}, "config t n ;list l a ;list l 'z' ;option b c\n"},

		{"remove keeps comments", text, []string{"del", "n", "l", "y"}, strings.Replace(text, "list l 'y' # y", "# y", 1)},
		{"remove takes the whole line", text, []string{"del", "n", "l", "x"}, strings.Replace(text, "  list l x\n", "", 1)},
		{"remove all equal ones", "config t n\nlist l a\nlist l b\nlist l 'a'\n", []string{"del", "n", "l", "a"}, "config t n\nlist l b\n"},
		{"remove what is not there", text, []string{"del", "n", "l", "zz"}, text},
		{"remove a last line without newline", "config t n\nlist l a", []string{"del", "n", "l", "a"}, "config t n\n"},

		{"delete an option", text, []string{"unset", "n", "a"}, strings.Replace(text, "option a \"old\"   # why", "# why", 1)},
		{"delete a list", text, []string{"unset", "n", "l"}, strings.Replace(text, "  list l x\n  list l 'y' # y", "  # y", 1)},
		{"delete several lines", "config t n\noption a 'x\ny\nz'\noption b c\n", []string{"unset", "n", "a"}, "config t n\noption b c\n"},
		{"delete between ';'", "config t n ;option a b ;option c d ;option e f # g\n", []string{"unset", "n", "c"}, "config t n ;option a b ;option e f # g\n"},
		{"delete the last after ';'", "config t n ;option a b ;option c d # g\n", []string{"unset", "n", "c"}, "config t n ;option a b # g\n"},
		{"delete the last after ';' with ';' behind", "config t n ;option a b ;option c d; \n", []string{"unset", "n", "c"}, "config t n ;option a b\n"},
		{"delete neighbours on one line", "config t n ;list a b ;list a c ;option e f\nlist a d\n", []string{"unset", "n", "a"}, "config t n ;option e f\n"},
		{"delete what is not there", text, []string{"unset", "n", "zz"}, text},

		{"new section", text, []string{"new", "t", "m"}, text + "\nconfig t 'm'\n"},
		{"new anonymous section", "", []string{"new", "t", ""}, "config t\n"},
		{"new section after an empty line", "config t\n\n", []string{"new", "t", "m"}, "config t\n\nconfig t 'm'\n"},
		{"new section without a newline at the end", "config t # c", []string{"new", "a;b", "m"}, "config t # c\n\nconfig 'a;b' 'm'\n"},
		{"new section keeps CRLF", "config t\r\n", []string{"new", "t", "m"}, "config t\r\n\r\nconfig t 'm'\r\n"},
		{"drop a section", text, []string{"drop", "n"}, "# top\n# n\n  # why\n\n  # list\n  # y\n\n# u\nconfig u\n\toption b 1\n"},
		{"drop an anonymous section", text, []string{"drop", "@u[-1]"}, strings.Replace(text, "config u\n\toption b 1\n", "", 1)},
		{"drop a section that stands twice", "config t n\no a 1\nconfig t m\nconfig t n\no b 1\n", []string{"drop", "n"}, "config t m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("f", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if err := edit(f, tt.edit...); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, string(f.Bytes())); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEditsAreRefused(t *testing.T) {
	const text = "config t n\noption a b\n"
	for _, tt := range []struct {
		name string
		edit []string
		want string
	}{
		{"set without section", []string{"set", "m", "a", "b"}, "section m: no such section"},
		{"add without section", []string{"add", "m", "a", "b"}, "section m: no such section"},
		{"remove without section", []string{"del", "m", "a", "b"}, "section m: no such section"},
		{"delete without section", []string{"unset", "m", "a"}, "section m: no such section"},
		{"drop without section", []string{"drop", "@t[1]"}, "section @t[1]: no such section"},
		{"empty value", []string{"set", "n", "a", ""}, "set option a of section n: an empty value cannot be stored"},
		{"option name", []string{"set", "n", "a b", "c"}, `option name "a b" is not made of letters, digits and '_'`},
		{"byte zero", []string{"add", "n", "a", "\x00"}, "value of option a has a byte of value zero"},
		{"section type", []string{"new", "a b", "m"}, `add section: type "a b" is not made of visible ASCII characters`},
		{"section name", []string{"new", "t", "m-m"}, `add section: name "m-m" is not made of letters, digits and '_'`},
		{"section exists", []string{"new", "t", "n"}, "add section n: it exists already"},
		{"too long", []string{"set", "n", "a", strings.Repeat("x", MaxSize)}, "edit file: f:1:1: the file has 4194327 bytes, at most 4194304 are read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("f", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			err = edit(f, tt.edit...)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if strings.Contains(tt.want, "no such section") != errors.Is(err, ErrNotFound) {
				t.Errorf("error %v is taken for the wrong kind", err)
			}
			if d := cmp.Diff(text, string(f.Bytes())); d != "" {
				t.Errorf("the file changed: %s", d)
			}
		})
	}
}

func TestAddSectionGivesTheReference(t *testing.T) {
	f, err := Parse("f", []byte("config t\nconfig t a\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want string }{{"", "@t[2]"}, {"b", "b"}, {"", "@t[4]"}} {
		ref, err := f.AddSection("t", tt.name)
		if err != nil || ref != tt.want {
			t.Errorf("add section %q: %q, %v, want %q", tt.name, ref, err, tt.want)
		}
		if err := f.Set(ref, "o", "v"); err != nil {
			t.Errorf("set in %s: %v", ref, err)
		}
	}
}
