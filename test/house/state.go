package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

func checkInit(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(true) {
		for _, decl := range f.AST.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, t.at(RuleInit, f, fn.Pos(), "no init functions: let the caller make what it needs"))
			}
		}
	}
	return found
}

// checkState finds package variables that can change. What Go has no constants
// for is allowed: sentinel errors, embedded files, and unexported tables or
// compiled patterns that nothing in the package, its tests included, writes to.
func checkState(t *Tree) []Finding {
	var found []Finding
	for _, files := range t.packages() {
		written := writtenVars(t, files)
		for _, f := range files {
			if f.Generated || f.Test {
				continue
			}
			for _, v := range packageVars(f) {
				if why := mutable(v, written); why != "" {
					found = append(found, t.at(RuleState, f, v.name.Pos(), "variable %s: %s", v.name.Name, why))
				}
			}
		}
	}
	return found
}

// packages groups the Go files by directory and package name, in order of path.
func (t *Tree) packages() [][]File {
	index := map[string]int{}
	var groups [][]File
	for _, f := range t.Files {
		key := f.Dir + " " + f.AST.Name.Name
		i, seen := index[key]
		if !seen {
			i = len(groups)
			index[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// packageVar is one name declared by var at package level.
type packageVar struct {
	name     *ast.Ident
	kind     ast.Expr // declared type, or nil
	value    ast.Expr // initial value, or nil
	embedded bool     // has a go:embed directive
}

func packageVars(f File) []packageVar {
	var vars []packageVar
	for _, decl := range f.AST.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, s := range gen.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				v := packageVar{name: name, kind: spec.Type, embedded: hasEmbed(gen.Doc) || hasEmbed(spec.Doc)}
				if i < len(spec.Values) {
					v.value = spec.Values[i]
				}
				vars = append(vars, v)
			}
		}
	}
	return vars
}

func hasEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// sentinelName is how the names of sentinel errors begin.
var sentinelName = regexp.MustCompile(`^[Ee]rr[A-Z]`)

// mutable says why a variable is refused, or "".
func mutable(v packageVar, written map[string]bool) string {
	name := v.name.Name
	switch {
	case name == "_", v.embedded:
		return ""
	case written[name]:
		return "is written to, pass the state in instead"
	case sentinelName.MatchString(name) && isCall(v.value, "errors.New", "fmt.Errorf"):
		return ""
	case ast.IsExported(name):
		return "is exported, any package could write to it: make it a function or a constant"
	case !isTable(v.value):
		return "may change: only sentinel errors, embedded files, compiled patterns and tables that are never written to are allowed"
	}
	return ""
}

func isCall(value ast.Expr, names ...string) bool {
	call, ok := value.(*ast.CallExpr)
	return ok && slices.Contains(names, types.ExprString(call.Fun))
}

// isTable says whether an initial value makes something that stays as it is if
// nobody assigns to it.
func isTable(value ast.Expr) bool {
	if lit, ok := value.(*ast.CompositeLit); ok {
		kind := types.ExprString(lit.Type)
		return !strings.HasPrefix(kind, "sync.") && !strings.HasPrefix(kind, "atomic.")
	}
	return isCall(
		value, "regexp.MustCompile", "strings.NewReplacer",
		"netip.MustParseAddr", "netip.MustParsePrefix", "netip.AddrFrom4", "netip.PrefixFrom",
	)
}

// writtenVars names the package variables that the package's files assign to,
// take the address of or pass to a builtin that writes.
func writtenVars(t *Tree, files []File) map[string]bool {
	parsed := make([]*ast.File, len(files))
	for i, f := range files {
		parsed[i] = f.AST
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	// Imports stay unresolved; the package's own names are all that is asked for.
	conf := types.Config{Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check(files[0].Dir, t.fset, parsed, info)
	written := map[string]bool{}
	note := func(e ast.Expr) {
		obj, ok := info.Uses[root(e)].(*types.Var)
		if ok && pkg != nil && obj.Parent() == pkg.Scope() {
			written[obj.Name()] = true
		}
	}
	for _, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, e := range targets(n) {
				note(e)
			}
			return true
		})
	}
	return written
}

// targets lists what a node writes to.
func targets(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if isCall(n, "delete", "clear", "copy", "slices.Sort", "slices.SortFunc", "sort.Slice", "sort.Strings") {
			return n.Args[:min(1, len(n.Args))]
		}
	}
	return nil
}

// root is the identifier that an expression such as a.b[c].d begins with, or nil.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		default:
			return nil
		}
	}
}
