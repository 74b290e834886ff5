package house

import (
	"cmp"
	"slices"
)

// Rule names a rule in findings and in exceptions.txt.
type Rule string

// The rules.
const (
	RuleFunctionLength Rule = "function-length"
	RuleFileLength     Rule = "file-length"
	RuleComplexity     Rule = "complexity"
	RuleImport         Rule = "import"
	RuleCall           Rule = "call"
	RuleInit           Rule = "init"
	RuleState          Rule = "package-state"
	RuleDoc            Rule = "doc"
	RuleGuard          Rule = "guard"
	RuleGoroutine      Rule = "goroutine"
	RuleHash           Rule = "commit-hash"
	RulePath           Rule = "machine-path"
	RuleTodo           Rule = "todo"
	RuleSleep          Rule = "sleep"
	RuleLicence        Rule = "licence"
	RuleScript         Rule = "script"
	RuleLink           Rule = "link"
	RulePin            Rule = "pin"
	RuleException      Rule = "exception"
)

// Check runs every rule over a tree. Complexity is not among them: gocyclo
// measures it, see Complexity.
func Check(t *Tree) []Finding {
	checks := []func(*Tree) []Finding{
		checkFunctionLength, checkFileLength,
		checkImports, checkCalls,
		checkInit, checkState,
		checkDocs, checkGuards, checkGoroutines,
		checkComments, checkMachinePaths,
		checkSleep,
		checkLicences, checkScripts, checkLinks, checkPins,
	}
	var found []Finding
	for _, check := range checks {
		found = append(found, check(t)...)
	}
	sortFindings(found)
	return found
}

func sortFindings(found []Finding) {
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
}
