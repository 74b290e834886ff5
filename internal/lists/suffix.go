package lists

import (
	_ "embed" // suffixes.txt
	"strings"
)

// suffixes are the rules of registries, with two labels or more, of Mozilla's Public
// Suffix List (https://publicsuffix.org, Mozilla Public License 2.0), one a line, in
// the order of their octets. They come from golang.org/x/net/publicsuffix, which
// imports net/http; a test holds them to it.
//
//go:embed suffixes.txt
var suffixes string

// isPublicSuffix says whether everybody's names lie below a name that has two labels
// or more: by a rule for it, or by one for all names beside it that makes no exception.
func isPublicSuffix(name string) bool {
	_, parent, ok := strings.Cut(name, ".")
	return ok && (hasSuffixRule(name) || hasSuffixRule("*."+parent) && !hasSuffixRule("!"+name))
}

// hasSuffixRule looks for a line by halves.
func hasSuffixRule(rule string) bool {
	from, to := 0, len(suffixes) // both at beginnings of lines
	for from < to {
		at := from + (to-from)/2
		at = from + strings.LastIndexByte(suffixes[from:at], '\n') + 1
		line, _, _ := strings.Cut(suffixes[at:], "\n")
		switch strings.Compare(line, rule) {
		case 0:
			return true
		case 1:
			to = at
		default:
			from = at + len(line) + 1
		}
	}
	return false
}
