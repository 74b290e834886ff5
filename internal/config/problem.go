package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is wrapped by the error for settings that cannot be used. The
// problems say why.
var ErrInvalid = errors.New("settings are not valid")

// Level says how grave a Problem is.
type Level string

// The values of Level.
const (
	LevelError Level = "error" // the settings cannot be used
	LevelNote  Level = "note"  // they can, but perhaps not as meant
)

// Problem is one thing that is wrong with the settings, or worth knowing.
type Problem struct {
	Level   Level
	Section string // name, or @TYPE[N] of an anonymous one; "" for the file
	Option  string // "" when it concerns the section
	Value   string // as it stands; never a key
	Text    string // what is wrong and what is allowed, to be read after the value
	Mend    string // what to do; "" where Text says it all
	Line    int    // in the file, from 1; 0 when no line is at fault
}

// String gives the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(string(p.Level) + ": ")
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d, ", p.Line)
	}
	if p.Section != "" {
		b.WriteString("section " + p.Section + ", ")
	}
	if p.Option != "" {
		b.WriteString("option " + p.Option + ", ")
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "value %q, ", p.Value)
	}
	text := strings.TrimSuffix(b.String(), ", ")
	if !strings.HasSuffix(text, ": ") {
		text += ": "
	}
	text += p.Text
	if p.Mend != "" {
		text += "; " + p.Mend
	}
	return text
}

// invalid makes the error for problems, nil when none is an error. It repeats
// the first so that a caller who shows nothing else still says what to mend.
func invalid(name string, problems []Problem) error {
	var first *Problem
	count := 0
	for i := range problems {
		if problems[i].Level != LevelError {
			continue
		}
		if count++; first == nil {
			first = &problems[i]
		}
	}
	switch count {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s: %w: %s", name, ErrInvalid, strings.TrimPrefix(first.String(), "error: "))
	}
	return fmt.Errorf("%s: %w: %d errors, the first: %s", name, ErrInvalid, count, strings.TrimPrefix(first.String(), "error: "))
}

// didYouMean suggests the name that is nearest to a wrong one, "" when none is
// near.
func didYouMean(wrong string, names []string) string {
	if name := nearest(wrong, names); name != "" {
		return fmt.Sprintf("did you mean %q?", name)
	}
	return ""
}

// nearest is the name that takes the fewest typing mistakes to turn into wrong:
// at most one in three characters.
func nearest(wrong string, names []string) string {
	const longest = 64
	if len(wrong) > longest {
		return ""
	}
	wrong = strings.ToLower(wrong)
	best, least := "", max(1, min(3, len(wrong)/3))+1
	for _, name := range names {
		if len(name) > longest {
			continue
		}
		if d := distance(wrong, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the least number of bytes left out, put in, changed or swapped
// with their neighbour between two strings.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
