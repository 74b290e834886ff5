package cli

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func emptyStatus(context.Context) (control.Status, error) { return control.Status{}, nil }
func noFlows(context.Context) ([]control.Flow, error)     { return nil, nil }

func TestWithoutADaemonCommandsEndWith3AndSayWhatToDo(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "absent")
	for _, args := range []string{
		"status", "status --json", "why example.org", "why --json example.org", "flows", "flows --follow", "flows --json --follow",
		"events", "events --follow", "events --json", "reload", "check", "check --json x.example", "history", "history --json x",
	} {
		r := call(t, "", append(strings.Fields(args), "--socket", socket)...)
		r.want(t, exitNotRunning, "", "routerd is not running (nothing answers on "+socket+"); start it with `/etc/init.d/routerd start` or `routerd run`\n")
		if r.stdout != "" {
			t.Errorf("%s: stdout holds %q", args, r.stdout)
		}
	}
}

func TestWrongUsageEndsWith2AndPointsToHelp(t *testing.T) {
	for _, tc := range []struct{ args, stderr string }{
		{"", "Available Commands"},
		{"staus", `did you mean "status"?`},
		{"frobnicate", `there is no command "frobnicate"`},
		{"status extra", "Try `routerd status --help`."},
		{"status --jsn", "unknown flag: --jsn"},
		{"status --socket", "flag needs an argument"},
		{"why", "Try `routerd why --help`."},
		{"why a b", "Try `routerd why --help`."},
		{"why a..b", "neither an address nor a domain name"},
		{"why example.org --client laptop", `client "laptop" is not`},
		{"run --log-level loud", "debug, info, warn or error"},
		{"run --log-level info+2", "debug, info, warn or error"},
		{"add example.org", "\"to\" not set"},
		{"add a..b --to exchanges", "rule \"a..b\""},
		{"remove", "Try `routerd remove --help`."},
		{"tunnel", "Available Commands"},
		{"tunnel imprt", `there is no command "tunnel imprt"; did you mean "import"?`},
		{"tunnel import home", "Try `routerd tunnel import --help`."},
		{"tunnel import ../evil x.conf", "1 to 12 characters of a–z, 0–9 and _"},
		{"tunnel import Home x.conf", "1 to 12 characters of a–z, 0–9 and _"},
		{"tunnel import thirteen_long x.conf", "1 to 12 characters of a–z, 0–9 and _"},
		{"tunnel import direct x.conf", "that of a path that always exists"},
		{"wireguard", "\"device\" not set"},
		{"help frobnicate", `there is no command "frobnicate"`},
		{"completion bash", "there is no command"},
	} {
		r := call(t, "", strings.Fields(tc.args)...)
		r.want(t, exitUsage, "", tc.stderr)
		if r.stdout != "" {
			t.Errorf("routerd %s: stdout holds %q", tc.args, r.stdout)
		}
	}
}

func TestOnlyARefusedReloadIsSaidToKeepTheLastGoodSettings(t *testing.T) {
	for status, refused := range map[int]bool{422: true, 503: false, 504: false} {
		err := reloadError(&control.APIError{Status: status, Message: "x"})
		if strings.Contains(err.Error(), "keeps its last good settings") != refused {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestFailuresOfTheDaemonEndWith1(t *testing.T) {
	h := fixtures()
	h.Flows = nil
	refused := errors.New("the settings have 1 error")
	h.Reload = func(context.Context) ([]control.Problem, error) {
		return []control.Problem{{Level: "error", Section: "exchanges", Option: "policy", Value: "tunel", Text: "tunnel, auto, direct or block is allowed"}}, refused
	}
	socket, _ := daemonWith(t, h)
	call(t, "", "why", "broken.example", "--socket", socket).want(t, exitFailed, "", "routerd: read the address map: permission denied")
	call(t, "", "flows", "--socket", socket).want(t, exitFailed, "", "does not answer /v1/flows")
	call(t, "", "reload", "--socket", socket).want(t, exitFailed,
		"error: section exchanges, option policy, value \"tunel\"\n    tunnel, auto, direct or block is allowed\n",
		"routerd: the daemon keeps its last good settings: the settings have 1 error")
}

// brokenPipe is an output that nobody reads any more.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAnOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	socket, _ := daemonWith(t, fixtures())
	for _, args := range []string{"version", "catalogue --json", "status --socket " + socket, "flows --follow --socket " + socket, "events --follow --json --socket " + socket} {
		var stderr strings.Builder
		status := testApp("", brokenPipe{}, &stderr).main(t.Context(), strings.Fields(args))
		if status != exitFailed || !strings.Contains(stderr.String(), "broken pipe") {
			t.Errorf("routerd %s: status %d, stderr %q; want 1 and the cause", args, status, stderr.String())
		}
	}
}

// eachCommand visits every command but the root.
func eachCommand(c *command.Command, visit func(*command.Command)) {
	for _, sub := range c.Commands() {
		visit(sub)
		eachCommand(sub, visit)
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	root := testApp("", &strings.Builder{}, &strings.Builder{}).root()
	n := 0
	eachCommand(root, func(c *command.Command) {
		n++
		if c.Short == "" || len(c.Short) > 66 || !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, c.Path()) {
			t.Errorf("%s: short %q, example %q; want a line and an example that calls it", c.Path(), c.Short, c.Example)
		}
		r := call(t, "", append(strings.Fields(c.Path())[1:], "--help")...)
		r.want(t, exitDone, "Examples:\n"+c.Example, "")
		for line := range strings.Lines(r.stdout) {
			if len(line) > 120 {
				t.Errorf("%s --help: a line of %d characters", c.Path(), len(line))
			}
		}
		byWord := call(t, "", append([]string{"help"}, strings.Fields(c.Path())[1:]...)...)
		if byWord.stdout != r.stdout {
			t.Errorf("`routerd help` and --help differ for %s", c.Path())
		}
	})
	if n < 10 {
		t.Errorf("only %d commands were visited", n)
	}
}

// documented are the commands of CONTRACT.md that this issue brings, with a
// flag that each must take.
const documented = `run:config run:socket run:state-dir run:bpf-dir run:list-dir run:log-level status:json why:json why:client
	catalogue:json flows:json flows:follow events:json events:follow doctor:json doctor:config
	add:to add:config add:socket remove:config tunnel/import:config tunnel/import:socket tunnel/list:config
	check:json check:socket history:json history:socket lists:json lists:socket lists/update:json lists/update:socket
	validate:config reload:socket cleanup:state-dir cleanup:bpf-dir version:help`

func TestDocumentedCommandsAndFlagsExist(t *testing.T) {
	root := testApp("", &strings.Builder{}, &strings.Builder{}).root()
	for want := range strings.FieldsSeq(documented) {
		path, flag, _ := strings.Cut(want, ":")
		c, rest := root.Find(strings.Split(path, "/"))
		if len(rest) > 0 || c == root {
			t.Errorf("there is no command %q", path)
			continue
		}
		if flag != "help" && flagOf(c, flag) == nil {
			t.Errorf("%s has no --%s", path, flag)
		}
	}
}

// flagOf is the flag of a command by its name, or nil.
func flagOf(c *command.Command, name string) *command.Flag {
	i := slices.IndexFunc(c.Flags(), func(f *command.Flag) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return c.Flags()[i]
}

func TestDefaultsAreTheRoutersOwnFiles(t *testing.T) {
	root := testApp("", &strings.Builder{}, &strings.Builder{}).root()
	run, _ := root.Find([]string{"run"})
	for flag, want := range map[string]string{
		"config": "/etc/config/routerd", "socket": "/var/run/routerd.sock",
		"state-dir": "/var/run/routerd", "bpf-dir": "/sys/fs/bpf/routerd",
		"list-dir": "/etc/routerd/lists",
	} {
		if got := flagOf(run, flag).Default; got != want {
			t.Errorf("--%s is %q by default, want %q", flag, got, want)
		}
	}
}
