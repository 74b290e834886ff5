package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/lab"
)

// Files inside the router. Its /run and /etc/routerd are the lab's own.
const (
	runDir    = "/run/demo"
	logFile   = runDir + "/routerd.log"
	pidFile   = runDir + "/routerd.pid"
	startFile = runDir + "/start"
	quickFile = runDir + "/" + tunnelName + ".conf"
)

// startText runs the daemon as a child of the host's first process, as procd
// would: it outlives the demo. The verbs are the files above and the program.
const startText = `# Starts routerd in the background.
setsid --fork sh -c 'echo $$ >%s; exec "$0" run >>%s 2>&1 </dev/null' '%s'
`

// How long routerd may take.
const (
	startTime  = 20 * time.Second
	tunnelTime = 30 * time.Second
	endTime    = 10 * time.Second
)

// notRunning is the exit status of commands without a daemon (CONTRACT.md).
const notRunning = 3

// router operates routerd inside the lab's router as its user does: by its
// commands.
type router struct {
	lab     *lab.Lab
	program string // routerd, an absolute path
}

// prepare gives the router its settings, and its owner a wg-quick file that
// routerd has not seen.
func (r *router) prepare(ctx context.Context, text string) error {
	quick, err := r.lab.WGQuick(tunnelName)
	if err != nil {
		return fmt.Errorf("get wg-quick file: %w", err)
	}
	// The lab puts its files where routerd keeps imported ones.
	if _, err := r.lab.Run(ctx, lab.Router, "sh", "-c", "rm -f "+owned.TunnelDir+"/*.conf"); err != nil {
		return err
	}
	if err := r.lab.WriteFile(lab.Router, quickFile, quick, 0o600); err != nil {
		return err
	}
	script := fmt.Sprintf(startText, pidFile, logFile, r.program)
	if err := r.lab.WriteFile(lab.Router, startFile, []byte(script), 0o755); err != nil {
		return err
	}
	return r.lab.WriteFile(lab.Router, owned.ConfigFile, []byte(text), 0o600)
}

// start starts the daemon and returns when it answers.
func (r *router) start(ctx context.Context) error {
	if _, err := r.lab.Run(ctx, lab.Router, "sh", startFile); err != nil {
		return fmt.Errorf("start routerd: %w", err)
	}
	err := poll(ctx, startTime, func() (bool, error) {
		s, err := r.status(ctx)
		return err == nil && s.Running, err
	})
	return r.explain("start routerd", err)
}

// explain adds the end of routerd's log to an error.
func (r *router) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	const end = 2000
	log, _ := r.lab.ReadFile(lab.Router, logFile)
	return fmt.Errorf("%s: %w; its log:\n%s", what, err, log[max(0, len(log)-end):])
}

// importTunnel takes the wg-quick file into the settings and waits until the
// tunnel's peer answers.
func (r *router) importTunnel(ctx context.Context) error {
	if _, err := r.command(ctx, "tunnel", "import", tunnelName, quickFile); err != nil {
		return err
	}
	return r.explain("wait for tunnel "+tunnelName, poll(ctx, tunnelTime, func() (bool, error) {
		s, err := r.status(ctx)
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(s.Tunnels, func(t control.TunnelStatus) bool {
			return t.Name == tunnelName && t.State == "up"
		}), fmt.Errorf("it is not up: %+v", s.Tunnels)
	}))
}

// kill sends a signal to the daemon and waits until it is gone.
func (r *router) kill(ctx context.Context, signal string) error {
	raw, err := r.lab.ReadFile(lab.Router, pidFile)
	if err != nil {
		return err
	}
	pid := strings.TrimSpace(string(raw))
	if _, err := strconv.Atoi(pid); err != nil {
		return fmt.Errorf("read %s: %w", pidFile, err)
	}
	if _, err := r.lab.Run(ctx, lab.Router, "kill", "-"+signal, pid); err != nil {
		return err
	}
	return poll(ctx, endTime, func() (bool, error) {
		_, err := r.lab.Run(ctx, lab.Router, "kill", "-0", pid)
		return err != nil, errors.New("routerd does not end")
	})
}

// command runs routerd with arguments and gives back its standard output.
func (r *router) command(ctx context.Context, args ...string) ([]byte, error) {
	return r.lab.Run(ctx, lab.Router, r.program, args...)
}

// exitStatus runs routerd and gives its exit status.
func (r *router) exitStatus(ctx context.Context, args ...string) (int, error) {
	_, err := r.command(ctx, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// ask runs a command with --json.
func (r *router) ask(ctx context.Context, reply any, args ...string) error {
	out, err := r.command(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, reply); err != nil {
		return fmt.Errorf("read answer of routerd %s: %w", args[0], err)
	}
	return nil
}

func (r *router) status(ctx context.Context) (control.Status, error) {
	var s control.Status
	err := r.ask(ctx, &s, "status")
	return s, err
}

// path is the path of a client's newest connection to an address, as routerd
// tells it: of the connection itself if it is steered, otherwise of the address.
func (r *router) path(ctx context.Context, clients []netip.Addr, to netip.Addr) (string, error) {
	var flows []control.Flow
	if err := r.ask(ctx, &flows, "flows"); err != nil {
		return "", err
	}
	if f, ok := newestFlow(flows, clients, to); ok {
		return f.Path, nil
	}
	args := []string{"why", to.String()}
	for _, a := range clients {
		if a.Is4() == to.Is4() {
			args = append(args, "--client", a.String())
		}
	}
	var w control.Why
	err := r.ask(ctx, &w, args...)
	return w.Path, err
}

// newestFlow finds the newest flow between a client and an address.
func newestFlow(flows []control.Flow, clients []netip.Addr, to netip.Addr) (control.Flow, bool) {
	best, found := control.Flow{}, false
	for _, f := range flows {
		source, err := netip.ParseAddrPort(f.Source)
		if err != nil || !slices.Contains(clients, source.Addr()) {
			continue
		}
		target, err := netip.ParseAddrPort(f.Target)
		if err == nil && target.Addr() == to && (!found || f.AgeS <= best.AgeS) {
			best, found = f, true
		}
	}
	return best, found
}

// pollEvery is how often something is looked at that will soon be so.
const pollEvery = 50 * time.Millisecond

// poll looks until done says so; its last error tells what was missing.
func poll(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not so after %s: %w", limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// programPath is the absolute path of routerd.
func programPath(path string) (string, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("find routerd (scripts/build builds it): %w", err)
	}
	found, err = filepath.Abs(found)
	if err != nil {
		return "", fmt.Errorf("find routerd: %w", err)
	}
	return found, nil
}
