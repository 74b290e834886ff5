package pack

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryJSONFileOfThePackagesIsValid(t *testing.T) {
	n := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json") {
			return err
		}
		n++
		raw, err := os.ReadFile(path)
		if !json.Valid(raw) {
			t.Errorf("%s is no JSON", path)
		}
		return err
	})
	if err != nil || n < 2 {
		t.Errorf("looked at %d files: %v", n, err)
	}
}

// The menu names pages that there are.
func TestTheMenuLeadsToPages(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(app, "root/usr/share/luci/menu.d/luci-app-routerd.json"))
	if err != nil {
		t.Fatal(err)
	}
	var menu map[string]struct {
		Title  string
		Action struct{ Type, Path string }
	}
	if err := json.Unmarshal(raw, &menu); err != nil {
		t.Fatal(err)
	}
	pages := 0
	for place, entry := range menu {
		if entry.Action.Type != "view" {
			continue
		}
		pages++
		if _, err := os.Stat(filepath.Join(app, "htdocs/luci-static/resources/view", entry.Action.Path+".js")); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	if pages != 4 {
		t.Errorf("the menu has %d pages", pages)
	}
}
