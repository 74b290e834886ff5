package house

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// anything in an arrow stands for every package of ours.
const anything = "*"

// arrows says which packages of ours a package may import: the drawing of
// docs/architecture.md as a table. A package that is not in it has no place in
// the architecture yet.
func arrows() map[string][]string {
	return map[string][]string{
		"cmd/routerd":        {"internal/cli"},
		"ebpf":               {"internal/owned"},
		"netcfg":             {"internal/owned", "internal/sorting"},
		"internal/owned":     {},
		"internal/sorting":   {},
		"internal/memory":    {},
		"internal/command":   {"internal/sorting"},
		"internal/catalogue": {"internal/sorting"},
		"internal/upstream":  {},
		"internal/web":       {},
		"internal/config":    {"internal/catalogue", "internal/memory", "internal/owned", "internal/sorting", "internal/upstream"},
		"internal/steer":     {"internal/catalogue", "internal/config", "internal/owned", "internal/sorting"},
		"internal/tunnel":    {"internal/config", "internal/memory", "internal/owned", "internal/sorting"},
		"internal/control":   {"internal/owned", "internal/web"},
		"internal/certs":     {},
		"internal/dns":       {"internal/catalogue", "internal/certs", "internal/owned", "internal/sorting", "internal/upstream", "internal/web"},
		"internal/reach":     {"internal/catalogue", "internal/certs", "internal/dns", "internal/owned", "internal/sorting", "internal/web"},
		"internal/lists":     {"internal/catalogue", "internal/certs", "internal/config", "internal/sorting", "internal/steer", "internal/web"},
		"internal/doctor": {
			"ebpf", "netcfg", "internal/catalogue", "internal/config", "internal/control", "internal/owned", "internal/tunnel", "internal/web",
		},
		"internal/daemon": {
			"ebpf", "netcfg", "internal/catalogue", "internal/config", "internal/control", "internal/dns", "internal/doctor",
			"internal/lists", "internal/memory", "internal/owned", "internal/reach", "internal/sorting", "internal/steer",
			"internal/tunnel",
		},
		"internal/cli": {
			"internal/catalogue", "internal/command", "internal/config", "internal/control", "internal/daemon",
			"internal/doctor", "internal/owned", "internal/sorting", "internal/tunnel", "internal/web",
		},
		"openwrt/pack": {},
		"test":         {anything},
	}
}

// owners says which packages alone may import a module of others outside of
// tests: one door to each part of the kernel, and what is heavy or meant for
// tests stays out of the binary. test/… may import all of them.
func owners() map[string][]string {
	return map[string][]string{
		"github.com/cilium/ebpf":         {"ebpf"},
		"github.com/google/nftables":     {"netcfg", "internal/doctor"},
		"github.com/coreos/go-iptables":  {"netcfg"},
		"github.com/vishvananda/netlink": {"ebpf", "netcfg", "internal/tunnel", "internal/doctor", "internal/daemon"},
		"golang.zx2c4.com/wireguard":     {"internal/tunnel"},
		"github.com/spf13/cobra":         {},
		"golang.org/x/term":              {"internal/cli"},
		"go.yaml.in/yaml/v3":             {},
		"github.com/google/go-cmp":       {},
		"github.com/miekg/dns":           {},
		"github.com/vishvananda/netns":   {},
		"testing":                        {},
		"net/http":                       {}, // internal/web: a tenth of the binary
		"golang.org/x/net/publicsuffix":  {}, // imports net/http
	}
}

// call is a function of a package that some packages must not use.
type call struct {
	pkg, name string
	in        []string // the packages concerned; anything: all but those of test
	why       string
}

// bannedCalls keeps deciding pure and the daemon free of hidden inputs.
func bannedCalls() []call {
	pure := []string{"internal/steer", "internal/catalogue", "internal/owned"}
	return []call{
		{"time", "Now", pure, "the caller passes the time in"},
		{"time", "Since", pure, "the caller passes the time in"},
		{"time", "Until", pure, "the caller passes the time in"},
		{"os", "Getenv", []string{anything}, "settings come from UCI and flags, not from the environment"},
		{"os", "LookupEnv", []string{anything}, "settings come from UCI and flags, not from the environment"},
	}
}

func checkImports(t *Tree) []Finding {
	var found []Finding
	table := arrows()
	for _, f := range t.own(true) {
		from := ruled(f.Dir)
		allowed, known := table[from]
		if !known {
			found = append(found, t.at(RuleImport, f, f.AST.Name.Pos(),
				"package %s has no arrows yet: add it to the table in test/house and to docs/architecture.md", f.Dir))
			continue
		}
		for _, spec := range f.AST.Imports {
			if why := refused(f, from, allowed, importPath(spec)); why != "" {
				found = append(found, t.at(RuleImport, f, spec.Pos(), "%s", why))
			}
		}
	}
	return found
}

// refused says why a file may not import a path, or "".
func refused(f File, from string, allowed []string, imported string) string {
	if from == "test" {
		return ""
	}
	if ours, is := strings.CutPrefix(imported, Module+"/"); is {
		to := ruled(ours)
		if to == from || slices.Contains(allowed, to) || to == "test" && f.Test {
			return ""
		}
		return from + " must not import " + to + ": arrows go from it to [" + strings.Join(allowed, " ") + "] only"
	}
	if f.Test {
		return ""
	}
	return notOwner(from, imported)
}

// notOwner says why a package may not import somebody else's module, or "".
func notOwner(from, imported string) string {
	for module, by := range owners() {
		if within(imported, module) && !slices.Contains(by, from) {
			return from + " must not import " + imported + ": only [" + strings.Join(by, " ") + "] may, and tests"
		}
	}
	return ""
}

// ruled gives the entry of arrows that governs a directory: folders below a
// package belong to it.
func ruled(dir string) string {
	for name := range arrows() {
		if within(dir, name) {
			return name
		}
	}
	return dir
}

// within says whether a slash-separated path is another one or lies below it.
func within(path, above string) bool {
	return path == above || strings.HasPrefix(path, above+"/")
}

func importPath(spec *ast.ImportSpec) string {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return path
}

func checkCalls(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(false) {
		from := ruled(f.Dir)
		if from == "test" {
			continue
		}
		for _, c := range bannedCalls() {
			if !slices.Contains(c.in, anything) && !slices.Contains(c.in, from) {
				continue
			}
			for _, at := range uses(f, c.pkg, c.name) {
				found = append(found, t.at(RuleCall, f, at.Pos(), "%s must not use %s.%s: %s", from, c.pkg, c.name, c.why))
			}
		}
	}
	return found
}

// uses lists where a file names pkg.name, whatever the import is called there.
func uses(f File, pkg, name string) []ast.Node {
	local := ""
	for _, spec := range f.AST.Imports {
		if importPath(spec) != pkg {
			continue
		}
		local = pkg[strings.LastIndexByte(pkg, '/')+1:]
		if spec.Name != nil {
			local = spec.Name.Name
		}
	}
	var found []ast.Node
	ast.Inspect(f.AST, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == local {
			found = append(found, sel)
		}
		return true
	})
	return found
}
