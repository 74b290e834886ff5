package doctor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/tunnel"
)

// Settings reads the settings and the wg-quick files that they name, and gives
// every problem. The config is nil when the settings cannot be used; the error
// is for a file that cannot be read at all.
func Settings(path string) (*config.Config, []control.Problem, error) {
	c, found, err := config.Load(path)
	if err != nil && !errors.Is(err, config.ErrInvalid) {
		return nil, nil, err
	}
	problems := []control.Problem{}
	for _, p := range found {
		problems = append(problems, control.Problem{
			Level: string(p.Level), Section: p.Section, Option: p.Option, Value: p.Value,
			Text: p.Text, Mend: p.Mend, Line: p.Line,
		})
	}
	if c == nil {
		return nil, problems, nil
	}
	for _, t := range c.Tunnels {
		if t.Enabled {
			problems = append(problems, tunnelProblems(t)...)
		}
	}
	return c, problems, nil
}

// tunnelProblems gives the faults and notes of a tunnel's WireGuard settings.
func tunnelProblems(t config.Tunnel) []control.Problem {
	settings, err := tunnel.FromConfig(t)
	problem := func(level, option, value, text string) control.Problem {
		return control.Problem{Level: level, Section: t.Name, Option: option, Value: value, Text: text}
	}
	var faults tunnel.Faults
	switch {
	case errors.As(err, &faults):
		var out []control.Problem
		for _, f := range faults {
			out = append(out, problem(control.LevelError, f.Option, f.Value, lineText(t.File, f.Line, f.Text)))
		}
		return out
	case err != nil:
		return []control.Problem{problem(control.LevelError, "", "", err.Error())}
	}
	var out []control.Problem
	for _, n := range settings.Notes {
		out = append(out, problem(control.LevelNote, n.Option, "", lineText(t.File, n.Line, n.Text)))
	}
	return out
}

// lineText says where in a wg-quick file something stands.
func lineText(file string, line int, text string) string {
	switch {
	case file == "":
		return text
	case line == 0:
		return file + ": " + text
	}
	return fmt.Sprintf("%s line %d: %s", file, line, text)
}

// checkSettings makes findings of the settings' problems, and gives the mark
// bits that are in force.
func checkSettings(path string) ([]control.Finding, owned.Mask) {
	c, problems, err := Settings(path)
	if err != nil {
		return []control.Finding{fault(topicSettings, err.Error(), "write "+path+", or give another --config")}, owned.DefaultMask
	}
	var out []control.Finding
	for _, p := range problems {
		out = append(out, judgeProblem(p, path))
	}
	if len(out) == 0 {
		out = append(out, fine(topicSettings, path+" is in order"))
	}
	if c == nil {
		return out, owned.DefaultMask
	}
	return out, c.Main.MarkMask
}

func judgeProblem(p control.Problem, path string) control.Finding {
	var where []string
	for _, part := range [][2]string{{"section ", p.Section}, {"option ", p.Option}, {"value ", p.Value}} {
		if part[1] != "" {
			where = append(where, part[0]+part[1])
		}
	}
	text := strings.TrimPrefix(strings.Join(where, ", ")+": "+p.Text, ": ")
	mend := p.Mend
	if p.Level == control.LevelError {
		if mend == "" {
			mend = "mend it in " + path
		}
		return fault(topicSettings, text, mend)
	}
	return note(topicSettings, text, mend)
}
