package lists

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"
)

var update = flag.Bool("update", false, "write suffixes.txt anew")

// publicRules are all rules that golang.org/x/net/publicsuffix was made from; only its
// tests have them as text.
func publicRules(t *testing.T) (rules []string) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(string(bytes.TrimSpace(dir)), "publicsuffix", "table_test.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "rules" {
			return true
		}
		ast.Inspect(spec, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				rule, _ := strconv.Unquote(lit.Value)
				rules = append(rules, rule)
			}
			return true
		})
		return false
	})
	return rules
}

// registries are the rules of registries with more than one label, in order; those of
// companies, which let others have names below theirs, are left out.
func registries(t *testing.T) (out []string) {
	for _, rule := range publicRules(t) {
		name := strings.TrimLeft(rule, "*.!")
		if strings.HasPrefix(rule, "*.") {
			name = "any." + name
		}
		if _, icann := publicsuffix.PublicSuffix(name); icann && strings.Contains(name, ".") {
			out = append(out, rule)
		}
	}
	slices.Sort(out)
	return out
}

// byParent are rules in the form of suffixes.txt.
func byParent(rules []string) string {
	below := map[string][]string{}
	for _, rule := range rules {
		first, parent, _ := strings.Cut(rule, ".")
		below[parent] = append(below[parent], first)
	}
	var out strings.Builder
	for _, parent := range slices.Sorted(maps.Keys(below)) {
		out.WriteString(parent + " " + strings.Join(below[parent], " ") + "\n")
	}
	return out.String()
}

func TestSuffixesAreThoseOfTheLibrary(t *testing.T) {
	want := byParent(registries(t))
	if *update {
		if err := os.WriteFile("suffixes.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) < 10_000 || want != suffixes {
		t.Error("suffixes.txt is not what golang.org/x/net/publicsuffix has: go test ./internal/lists -run Suffixes -update")
	}
	for _, rule := range append(publicRules(t), "a.example", "x", "com", "a", "zz.zz") {
		bare := strings.TrimLeft(rule, "*.!")
		for _, name := range []string{bare, "x." + bare, "x.y." + bare, bare + "x", "a" + bare} {
			suffix, icann := publicsuffix.PublicSuffix(name)
			if got, want := isPublicSuffix(name), icann && suffix == name && strings.Contains(name, "."); got != want {
				t.Errorf("%s: %t, want %t", name, got, want)
			}
		}
	}
}

func BenchmarkPublicSuffix(b *testing.B) {
	for b.Loop() {
		isPublicSuffix("somewhere.example.com")
	}
}
