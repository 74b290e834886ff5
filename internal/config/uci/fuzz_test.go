package uci

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seeds are files that hold every form of the grammar between them.
func seeds() []string {
	return []string{
		"",
		"\nconfig routerd 'main'\n\toption enabled '1'\n\tlist lan 'lan'\n\n",
		"package x\nc t n\no a \"b\\\"c\\\nd\" # e\nl f 'it'\\''s'\n",
		"config t n ;option a b ;option c 'd';list e f;# g\n",
		"config t\r\n\toption a 'x\r\ny'\r\n",
		"config t n\noption a x\\\ny\\\n\noption b c;\n",
		"config t n\noption a b '' option c d '' ; list c ''\n",
		"config t n\noption a b#c\n# d\noption a ''\noption 'a' ;\nlist a e\n",
		"config t n\noption a b\\",
		"config 'a#b' n\nconfig t m\nconfig 'a#b' n\noption c \\#\\;\\ d\n",
	}
}

// FuzzParse: whatever the bytes, parsing ends; what was read is written in a
// form that reads back as the same, and that form is stable.
func FuzzParse(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("f", text)
		if err != nil {
			return
		}
		if !bytes.Equal(file.Bytes(), text) {
			t.Fatal("parsing changed the text")
		}
		checkFormat(t, file)
		checkPlaces(t, file)
	})
}

// checkFormat checks that a file written anew says the same.
func checkFormat(t *testing.T, file *File) {
	written := file.Format()
	again, err := Parse("f", written)
	if err != nil {
		t.Fatalf("what was written is refused: %v\n%q", err, written)
	}
	if d := cmp.Diff(flat(file), flat(again)); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(string(written), string(again.Format())); d != "" {
		t.Fatal(d)
	}
}

// checkPlaces checks that statements follow each other in the text.
func checkPlaces(t *testing.T, file *File) {
	after := 0
	for i, st := range file.stmts {
		places := []int{after, st.start, st.end, st.rest, st.lineEnd}
		if !slices.IsSorted(places) || st.lineStart > st.start || st.start == st.end {
			t.Fatalf("statement %d is not in its place: %+v", i, st)
		}
		after = st.end
	}
}

// FuzzEdit: an edit does what it says, keeps all other values, all other lines
// byte for byte and, on its own lines, all other statements and the comment.
func FuzzEdit(f *testing.F) {
	for i, s := range seeds() {
		f.Add([]byte(s), uint8(i), uint8(i), "a", "it's")
	}
	f.Fuzz(func(t *testing.T, text []byte, op, section uint8, option, value string) {
		before, err := Parse("f", text)
		usable := validName(option) && value != "" && !strings.Contains(value, "\x00")
		if err != nil || len(before.sections) == 0 || !usable {
			return
		}
		s := before.sections[int(section)%len(before.sections)]
		words := []string{[]string{"set", "add", "del", "unset"}[op%4], s.Ref, option, value}
		after, _ := Parse("f", text)
		if err := edit(after, words...); err != nil {
			t.Fatalf("%q on %q: %v", words, text, err)
		}
		checkDone(t, after, words)
		if d := cmp.Diff(others(before, s.Ref, option), others(after, s.Ref, option)); d != "" {
			t.Fatalf("other values changed: %s", d)
		}
		checkRest(t, before, after, touched(before, s, words))
	})
}

// touched are the statements that an edit may change or remove.
func touched(f *File, s *Section, words []string) []int {
	found := f.find(s, words[2])
	switch words[0] {
	case "add":
		return nil
	case "del":
		return slices.DeleteFunc(found, func(i int) bool { return f.stmts[i].args[1].text != words[3] })
	}
	return found
}

// checkDone checks what an edit was meant to do.
func checkDone(t *testing.T, after *File, words []string) {
	op, value := words[0], words[3]
	s, _ := after.Section(words[1])
	o, ok := s.Option(words[2])
	if !ok {
		o = &Option{Values: []string{}}
	}
	last := append([]string{""}, o.Values...)[len(o.Values)]
	done := map[string]bool{
		"set":   !o.List && len(o.Values) == 1 && last == value,
		"add":   o.List && last == value,
		"del":   !slices.Contains(o.Values, value),
		"unset": !ok,
	}
	if !done[op] {
		t.Fatalf("%q made %+v", words, o)
	}
}

// others is every value of a file but those of one option.
func others(f *File, ref, option string) []string {
	var all []string
	for _, s := range f.sections {
		all = append(all, s.Ref+"="+s.Type)
		for _, o := range s.Options {
			if s.Ref != ref || o.Name != option {
				all = append(all, s.Ref+"."+o.Name, strings.Join(o.Values, "\x00"))
			}
		}
	}
	return all
}

// checkRest compares bytes: lines without a touched statement, and untouched
// statements and comments on the others.
func checkRest(t *testing.T, before, after *File, touched []int) {
	missing := pieces(before, touched)
	for _, piece := range pieces(after, nil) {
		if len(missing) > 0 && piece == missing[0] {
			missing = missing[1:]
		}
	}
	if len(missing) > 0 {
		t.Fatalf("%q was in\n%q\nand is not, or not in its place, in\n%q", missing[0], before.text, after.text)
	}
}

// pieces are the statements and what stands between lines, in order, without
// the touched statements. Blanks and line endings around a piece do not count:
// checked exactly by the table tests.
func pieces(f *File, touched []int) []string {
	var out []string
	at := 0
	gap := func(to int) {
		if to > at {
			for line := range strings.Lines(string(f.text[at:to])) {
				if line = strings.Trim(line, " \t\r\n\v\f;'\"\\"); line != "" {
					out = append(out, line)
				}
			}
		}
	}
	for i, st := range f.stmts {
		gap(st.start)
		if !slices.Contains(touched, i) {
			// A backslash at the end of the file joins the line added to it.
			out = append(out, strings.TrimRight(string(f.text[st.start:st.end]), "\\\r\n"))
		}
		at = st.end
	}
	gap(len(f.text))
	return out
}
