package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is the root of the tree that this package stands in.
const repository = "../.."

func load(t *testing.T, root string) *Tree {
	t.Helper()
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestRepositoryKeepsTheHouseStyle is the check itself: every finding is one
// that a person mends, or an entry with a reason in exceptions.txt.
func TestRepositoryKeepsTheHouseStyle(t *testing.T) {
	content, err := os.ReadFile("exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	exceptions, err := ReadExceptions(string(content))
	if err != nil {
		t.Fatal(err)
	}
	found := Except(Check(load(t, repository)), exceptions, func(r Rule) bool { return r != RuleComplexity })
	for _, f := range found {
		t.Error(f)
	}
}

func TestEveryScriptExplainsItself(t *testing.T) {
	for _, script := range Scripts(load(t, repository)) {
		t.Run(script.Path, func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join(repository, script.Path))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), path, "--help")
			cmd.Dir = t.TempDir() // from any directory
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("--help: %v\n%s", err, out)
			}
			for _, word := range []string{"usage:", "example"} {
				if !strings.Contains(strings.ToLower(string(out)), word) {
					t.Errorf("--help says nothing of %q:\n%s", word, out)
				}
			}
		})
	}
}

// TestChecksFindWhatTheyShould runs every check over each tree of testdata; its
// want.txt names the findings, and the tree good has none.
func TestChecksFindWhatTheyShould(t *testing.T) {
	trees, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range trees {
		t.Run(filepath.Base(root), func(t *testing.T) {
			var got []string
			for _, f := range Check(load(t, root)) {
				place, _, _ := strings.Cut(f.String(), ": ")
				got = append(got, place+": "+string(f.Rule))
			}
			want, err := os.ReadFile(filepath.Join(root, "want.txt"))
			if err != nil && filepath.Base(root) != "good" {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(string(want)), strings.Fields(strings.Join(got, "\n"))); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryRuleHasABadSample keeps a rule from being written that never fires.
func TestEveryRuleHasABadSample(t *testing.T) {
	fired := map[Rule]bool{RuleComplexity: true, RuleException: true} // tested below
	trees, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range trees {
		for _, f := range Check(load(t, root)) {
			fired[f.Rule] = true
		}
	}
	for _, rule := range []Rule{
		RuleFunctionLength, RuleFileLength, RuleComplexity, RuleImport, RuleCall, RuleInit, RuleState, RuleDoc, RuleGuard,
		RuleGoroutine, RuleHash, RulePath, RuleTodo, RuleSleep, RuleLicence, RuleScript, RuleLink, RulePin, RuleException,
	} {
		if !fired[rule] {
			t.Errorf("no sample breaks rule %s", rule)
		}
	}
}

func TestComplexityReadsGocycloAndFindsWhatIsOver(t *testing.T) {
	out := "11 config (*parser).next internal/config/parse.go:33:1\n10 house F test/house/a.go:1:1\n12 x G x/x_test.go:2:1\n"
	functions, err := ReadComplexity(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range Complexity(functions) {
		got = append(got, f.Subject())
	}
	if diff := cmp.Diff([]string{"internal/config/parse.go:parser.next", "x/x_test.go:G"}, got); diff != "" {
		t.Errorf("over the limit (-want +got):\n%s", diff)
	}
}

func TestReadComplexityRefusesOtherOutput(t *testing.T) {
	for _, out := range []string{"gocyclo: no such file\n", "99999999999999999999 p F f.go:1:1\n", "1 p F f.go:99999999999999999999:1\n"} {
		if _, err := ReadComplexity(strings.NewReader(out)); err == nil {
			t.Errorf("%q was read", out)
		}
	}
}

func TestLoadNamesWhatItCannotRead(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "broken.go"), []byte("package"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Join(root, "missing")} {
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("Load(%s) = %v, want an error that names the directory", dir, err)
		}
	}
}

// TestTheBinaryIsWithoutWhatItHasNoRoomFor looks past what our own files import.
func TestTheBinaryIsWithoutWhatItHasNoRoomFor(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/routerd")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=mipsle")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "crypto/tls") {
		t.Errorf("go list names no crypto/tls: %d packages", len(deps))
	}
	for _, banned := range []string{"net/http", "mime/multipart", "vendor/golang.org/x/net/idna", "golang.org/x/net/idna"} {
		if slices.Contains(deps, banned) {
			t.Errorf("%s is in the daemon's binary (docs/footprint.md): go list -deps ./cmd/routerd", banned)
		}
	}
}
