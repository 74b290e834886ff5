package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proofs are the tests that a document names: a folder in backquotes and the names
// behind it, without Test.
var proofs = regexp.MustCompile("`((?:internal|netcfg|ebpf|test)[a-z0-9/]*)` ([A-Z][A-Za-z0-9]+(?:, [A-Z][A-Za-z0-9]+)*)")

// TestEveryClaimOfSecurityNamesATestThatIsThere keeps docs/security.md true to the
// tests that it names.
func TestEveryClaimOfSecurityNamesATestThatIsThere(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := proofs.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\n", " "), -1)
	if len(found) < 40 {
		t.Errorf("only %d claims name a test", len(found))
	}
	for _, m := range found {
		for name := range strings.SplitSeq(m[2], ", ") {
			if !strings.HasPrefix(name, "Fuzz") {
				name = "Test" + name
			}
			if !hasTest(t, filepath.Join(repository, m[1]), name) {
				t.Errorf("%s has no %s", m[1], name)
			}
		}
	}
}

// hasTest says whether a folder's tests have a function of that name.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "func "+name+"(") {
			return true
		}
	}
	return false
}
