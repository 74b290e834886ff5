package cli

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/routerd/routerd/internal/command"
)

// release is the version. It is a constant and no -ldflags -X variable: a build
// from a tarball, from the SDK or with plain `go build` says the same, and no
// forgotten flag makes a release call itself "devel". The commit, where Go
// stamps it, is told beside it.
const release = "0.1.0"

func (a *app) versionCommand() *command.Command {
	return &command.Command{
		Use:     "version",
		Short:   "Print the version, Go's and the target",
		Example: "  routerd version",
		Args:    command.None,
		Run: func(context.Context, []string) error {
			info, _ := debug.ReadBuildInfo()
			return a.print(versionLines(info)...)
		},
	}
}

// versionLines tells of a build; info may be nil.
func versionLines(info *debug.BuildInfo) []string {
	target := []string{runtime.GOOS + "/" + runtime.GOARCH}
	commit, modified := "", ""
	if info != nil {
		for _, s := range info.Settings {
			switch s.Key {
			case "GOMIPS", "GOMIPS64", "GOARM", "GOAMD64", "GOARM64", "GO386":
				target = append(target, s.Key+"="+s.Value)
			case "vcs.revision":
				commit = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					modified = ", modified"
				}
			}
		}
	}
	lines := []string{"routerd " + release, "go      " + runtime.Version(), "target  " + strings.Join(target, " ")}
	if commit != "" {
		lines = append(lines, "commit  "+commit+modified)
	}
	return lines
}
