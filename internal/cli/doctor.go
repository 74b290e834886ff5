package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/doctor"
)

func (a *app) doctorCommand() *command.Command {
	cmd := &command.Command{
		Use:   "doctor",
		Short: "Look for what is wrong on this router, and say how to mend it",
		Long: `Looks at the kernel and its modules, firewall, DNS, flow offload, clock, memory,
settings and other steering tools, asks the daemon if it runs, and says what is
wrong and how to mend it. It changes nothing. The exit status is 1 if something
keeps routerd from working.`,
		Example: `  routerd doctor
  routerd doctor --json`,
		Args: command.None,
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	cmd.String(&a.files.bpf, "bpf-dir", "`DIR` of pinned maps and links")
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		findings := doctor.Run(ctx, a.doctorOptions())
		return a.printFindings(findings, *asJSON)
	}
	return cmd
}

// printFindings prints findings; it fails silently when one is an error.
func (a *app) printFindings(findings []control.Finding, asJSON bool) error {
	var err error
	if asJSON {
		err = a.printJSON(findings)
	} else {
		err = a.print(a.findingLines(findings)...)
	}
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Level == control.LevelError {
			return silent{exitFailed}
		}
	}
	return nil
}

// findingLines writes each finding with what to do below it.
func (a *app) findingLines(findings []control.Finding) []string {
	width, _ := a.term.size()
	const levelWidth, indent = 8, 19
	var out []string
	for _, f := range findings {
		lines := wrap(clean(f.Text), strings.Repeat(" ", indent), width)
		if len(lines) == 0 {
			continue
		}
		level := a.term.paint(f.Level, stateTone(f.Level)) + strings.Repeat(" ", max(levelWidth-len(f.Level), 1))
		lines[0] = level + fmt.Sprintf(" %-*s", indent-levelWidth-1, clean(f.Topic)) + lines[0][indent:]
		out = append(out, lines...)
		if f.Mend != "" {
			out = append(out, wrap("to do: "+clean(f.Mend), strings.Repeat(" ", indent), width)...)
		}
	}
	return out
}
