package config

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// optionsOf asks for the options of a section type by giving one that there is
// not.
func optionsOf(t *testing.T, section string) []string {
	t.Helper()
	const wrong = "zzzzzzzz"
	_, problems, _ := Parse("f", []byte("config "+section+"\n\toption "+wrong+" 1\n"), testEnv(t, nil))
	for _, p := range problems {
		if list, ok := strings.CutPrefix(p.Mend, "allowed are "); ok && p.Option == wrong {
			return strings.Split(list, ", ")
		}
	}
	t.Fatalf("%s: no list of options in %v", section, problems)
	return nil
}

// documentedOptions are the first cells of the table below a heading.
func documentedOptions(text, heading string) []string {
	_, after, _ := strings.Cut(text, "\n## "+heading+"\n")
	section, _, _ := strings.Cut(after, "\n## ")
	var out []string
	for line := range strings.Lines(section) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			out = append(out, name)
		}
	}
	return out
}

func TestReferenceOfSettingsNamesEveryOption(t *testing.T) {
	raw, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, section := range map[string]string{
		"main": "routerd main", "tunnel": "tunnel home", "destination": "destination exchanges", "list": "list community",
	} {
		have, want := documentedOptions(string(raw), heading), optionsOf(t, section)
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("section %s: docs/settings.md has %v, the program %v", heading, have, want)
		}
	}
}

func TestTheFleetsTemplateHoldsValidSettings(t *testing.T) {
	raw, err := os.ReadFile("../../docs/examples/openwisp/template.json")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Files []struct{ Path, Mode, Contents string }
	}
	if err := json.Unmarshal(raw, &template); err != nil {
		t.Fatal(err)
	}
	for _, f := range template.Files {
		if f.Mode != "0600" {
			t.Errorf("%s has mode %s: it may hold keys", f.Path, f.Mode)
		}
		if f.Path == "/etc/config/routerd" {
			if _, problems, err := Parse(f.Path, []byte(f.Contents), testEnv(t, nil)); err != nil {
				t.Errorf("%v: %v", err, problems)
			}
		}
	}
}
