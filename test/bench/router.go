package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/lab"
)

// settings send exchanges through a tunnel, and their names to routerd's
// resolver.
const settings = `config routerd 'main'
	option enabled '%d'
	option dns 'secure'
	list resolver 'udp://22.8.8.8'
	list lan 'br-lan'

config tunnel 'home'
	option config '/etc/routerd/home.conf'

config destination 'exchanges'
	list category 'exchange'
	option policy 'tunnel'
	option fallback 'block'
`

// patience is how long routerd may take to start or to end.
const patience = time.Minute

// daemon is routerd in the lab's router.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// What a router's status says when it is ready.
const (
	tunnelUp   = `"state": "up"`
	hostsKnown = `"pending": 0`
)

// startDaemon starts routerd with settings and waits until its tunnel is up and the
// addresses of hosts are known: a router starts once in months.
func (r *run) startDaemon(ctx context.Context) (*daemon, error) {
	return r.start(ctx, fmt.Sprintf(settings, 1), tunnelUp, hostsKnown)
}

// start starts routerd with settings and waits until its status says all of these.
func (r *run) start(ctx context.Context, settings string, ready ...string) (*daemon, error) {
	return r.startUntil(ctx, settings, func() bool { return r.says(ctx, ready...) })
}

// startUntil starts routerd with settings and waits until it is ready.
func (r *run) startUntil(ctx context.Context, settings string, ready func() bool) (*daemon, error) {
	if err := r.lab.WriteFile(lab.Router, owned.ConfigFile, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(r.Program, "run")
	if err := r.lab.Start(lab.Router, cmd); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the daemon
		_ = cmd.Wait()
		close(d.ended)
	}()
	if err := poll(ctx, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("wait until routerd is ready: %w", err), r.stopDaemon(ctx, d))
	}
	return d, nil
}

func (r *run) writeSettings(enabled bool) error {
	n := 0
	if enabled {
		n = 1
	}
	return r.lab.WriteFile(lab.Router, owned.ConfigFile, fmt.Appendf(nil, settings, n), 0o600)
}

// enable switches routerd on, or off: then nothing of it is left in the kernel.
func (r *run) enable(ctx context.Context, on bool) error {
	if err := r.writeSettings(on); err != nil {
		return err
	}
	if _, err := r.lab.Run(ctx, lab.Router, r.Program, "reload"); err != nil || !on {
		return err
	}
	return r.settled(ctx, tunnelUp, hostsKnown)
}

// settled waits until the status says all of these.
func (r *run) settled(ctx context.Context, ready ...string) error {
	if err := poll(ctx, func() bool { return r.says(ctx, ready...) }); err != nil {
		return fmt.Errorf("wait for routerd to say %v: %w", ready, err)
	}
	return nil
}

// says tells whether routerd's status says all of these.
func (r *run) says(ctx context.Context, words ...string) bool {
	out, err := r.lab.Run(ctx, lab.Router, r.Program, "status", "--json")
	return err == nil && !slices.ContainsFunc(words, func(want string) bool { return !strings.Contains(string(out), want) })
}

// stopDaemon ends routerd and takes all away that it has left in the kernel.
func (r *run) stopDaemon(ctx context.Context, d *daemon) error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end routerd: %w", err)
	}
	select {
	case <-d.ended:
	case <-time.After(patience):
		return errors.New("routerd does not end")
	}
	_, err := r.lab.Run(ctx, lab.Router, r.Program, "cleanup")
	return err
}

// pin puts a program of the router's on the first core, with all its threads.
func (r *run) pin(ctx context.Context, program string) (pid string, err error) {
	out, err := r.lab.Run(ctx, lab.Router, "pidof", program)
	if err != nil {
		return "", err
	}
	// The last one has run for longest: the daemon has a process for each tunnel
	// in userspace.
	pids := strings.Fields(string(out))
	pid = pids[len(pids)-1]
	_, err = r.lab.Run(ctx, lab.Router, "taskset", "-a", "-c", "-p", "0", pid)
	return pid, err
}

// spent is the processor time that a program of the router's has used, in seconds.
func (r *run) spent(ctx context.Context, pid string) (float64, error) {
	out, err := r.lab.Run(ctx, lab.Router, "cat", "/proc/"+pid+"/stat")
	if err != nil {
		return 0, err
	}
	return parseSpent(string(out))
}

// ticksPerSecond is USER_HZ, which is 100 on every architecture of Linux that
// routerd is for.
const ticksPerSecond = 100

// parseSpent reads utime and stime of proc_pid_stat(5).
func parseSpent(stat string) (float64, error) {
	// The name, in brackets, may hold brackets and spaces.
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("read processor time: %q is not what /proc/PID/stat holds", stat)
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, nil
}

// pause is how long poll waits before it asks again.
const pause = 5 * time.Millisecond

// poll waits until ok says so.
func poll(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}
