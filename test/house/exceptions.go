package house

import (
	"fmt"
	"slices"
	"strings"
)

// minReason is how many words a reason has at the least.
const minReason = 4

// Exception allows one deviation.
type Exception struct {
	Rule    Rule
	Subject string // file, or file:function
	Reason  string
	line    int
}

// ReadExceptions reads the list of exceptions: "rule subject reason" a line,
// # begins a comment. An entry without a real reason is an error.
func ReadExceptions(content string) ([]Exception, error) {
	var all []Exception
	for i, line := range strings.Split(content, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 2+minReason {
			return nil, fmt.Errorf("read exceptions line %d: %q is not \"rule subject reason\" with a reason of at least %d words", i+1, line, minReason)
		}
		all = append(all, Exception{Rule(fields[0]), fields[1], strings.Join(fields[2:], " "), i + 1})
	}
	return all, nil
}

// Except removes the findings that the exceptions allow. An exception of one of
// the rules in ran that allows nothing any more is a finding itself, so that
// the list stays short.
func Except(found []Finding, exceptions []Exception, ran func(Rule) bool) []Finding {
	used := make([]bool, len(exceptions))
	left := slices.DeleteFunc(slices.Clone(found), func(f Finding) bool {
		allowed := false
		for i, e := range exceptions {
			if e.Rule == f.Rule && e.Subject == f.Subject() {
				used[i], allowed = true, true
			}
		}
		return allowed
	})
	for i, e := range exceptions {
		if !used[i] && ran(e.Rule) {
			left = append(left, Finding{
				Rule: RuleException, File: ExceptionsFile, Line: e.line,
				Text: fmt.Sprintf("%s %s is not needed any more, remove it", e.Rule, e.Subject),
			})
		}
	}
	return left
}

// ExceptionsFile is where the exceptions stand, relative to the root.
const ExceptionsFile = "test/house/exceptions.txt"
