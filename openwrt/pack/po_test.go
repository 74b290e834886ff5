package pack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const app = "../luci-app-routerd"

func parse(t *testing.T, text string) Catalogue {
	t.Helper()
	c, err := ParsePO(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPOIsReadWithContextsPluralsAndBrokenLines(t *testing.T) {
	c := parse(t, `# a comment
msgid ""
msgstr ""
"Language: ru\n"
"Plural-Forms: nplurals=3; plural=n;\n"

#: file.js:1
msgid "one"
msgstr "один"

msgctxt "unit"
msgid "B"
msgstr "Б"

msgid "a long "
"text"
msgstr ""
"длинный \"текст\""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d файл"
msgstr[1] "%d файла"
msgstr[2] "%d файлов"

#~ msgid "gone"
#~ msgstr "нет"
`)
	want := Catalogue{PluralForms: "nplurals=3; plural=n;", Messages: []Message{
		{ID: "one", Strings: []string{"один"}, Line: 8},
		{Context: "unit", ID: "B", Strings: []string{"Б"}, Line: 12},
		{ID: "a long text", Strings: []string{`длинный "текст"`}, Line: 15},
		{ID: "%d file", Plural: "%d files", Strings: []string{"%d файл", "%d файла", "%d файлов"}, Line: 20},
	}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsInAPOAreNamedWithTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"msgstr \"x\"\n": "line 1: msgstr without msgid",
		"msgid \"a\"\n\nmsgid \"b\"\nmsgstr \"\"\n": "line 3: msgid \"a\" has no msgstr",
		"msgid \"a\n": "is no text in quotes",
		"\"loose\"\n": "belongs to nothing",
		"msgid \"a\"\nmsgstr \"\"\nmsgstr \"\"\n":             "a second msgstr",
		"#, fuzzy\nmsgid \"a\"\nmsgstr \"b\"\n":               "fuzzy",
		"what \"a\"\n":                                        "is no keyword",
		"msgid \"a\"\nmsgstr[1] \"b\"\n":                      "msgstr[0] is expected",
		"msgid \"a\"\nmsgid_plural \"as\"\nmsgstr[x] \"b\"\n": "msgstr[0] is expected",
	} {
		if _, err := ParsePO(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePO(f *testing.F) {
	f.Add("msgid \"a\"\nmsgstr \"b\"\n")
	f.Add("msgctxt \"c\"\nmsgid \"a\"\nmsgid_plural \"b\"\nmsgstr[0] \"x\\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParsePO(strings.NewReader(text))
		if err != nil {
			return
		}
		out, err := LMO(c)
		if err != nil {
			return
		}
		if _, err := ReadLMO(out); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

// messages are the texts of a catalogue, with their contexts.
func messages(c Catalogue) map[string]bool {
	out := map[string]bool{}
	for _, m := range c.Messages {
		out[m.Context+"\x01"+m.ID] = true
	}
	return out
}

func readPO(t *testing.T, name string) Catalogue {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(app, "po", name))
	if err != nil {
		t.Fatal(err)
	}
	// The template's header is fuzzy by custom.
	return parse(t, strings.Replace(string(raw), "#, fuzzy\n", "", 1))
}

func TestTheRussianTranslationIsComplete(t *testing.T) {
	template, russian := readPO(t, "templates/routerd.pot"), readPO(t, "ru/routerd.po")
	if diff := cmp.Diff(messages(template), messages(russian)); diff != "" {
		t.Errorf("template and translation differ (-template +translation):\n%s", diff)
	}
	for _, m := range russian.Messages {
		if m.Strings[0] == "" {
			t.Errorf("line %d: %q is not translated", m.Line, m.ID)
		}
		for _, place := range []string{"%s", "%t"} {
			if strings.Count(m.ID, place) != strings.Count(m.Strings[0], place) {
				t.Errorf("line %d: %q and its translation do not have the same %s", m.Line, m.ID, place)
			}
		}
	}
	if len(template.Messages) < 200 {
		t.Errorf("only %d messages", len(template.Messages))
	}
}
