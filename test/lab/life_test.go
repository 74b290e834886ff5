package lab_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

// machine is what a lab must not change of the machine.
type machine struct {
	Links, Mounts, Run, Etc []string
}

func lookAtMachine(t *testing.T) machine {
	t.Helper()
	var m machine
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		m.Links = append(m.Links, l.Attrs().Name)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	m.Mounts = strings.Split(string(mounts), "\n")
	m.Run = list(t, "/run")
	m.Run = slices.DeleteFunc(m.Run, func(s string) bool { return s == "routerd-lab" }) // other people's labs
	m.Etc = list(t, "/etc")
	return m
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// namespacesOf lists the namespaces of processes that are not this one's. They
// are held open until the test ends, so that no other takes their numbers.
func namespacesOf(t *testing.T, pids ...int) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, pid := range pids {
		for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
			path := filepath.Join("/proc", strconv.Itoa(pid), "ns", kind)
			held, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = held.Close() })
			inside, err := os.Readlink(path)
			if err != nil {
				t.Fatal(err)
			}
			if own, _ := os.Readlink("/proc/self/ns/" + kind); inside == own {
				t.Errorf("process %d shares the machine's %s", pid, inside)
			}
			out[inside] = true
		}
	}
	return out
}

// livingIn lists processes that are in one of the namespaces; the dead that
// wait for this machine's first process to notice do not count.
func livingIn(namespaces map[string]bool) []string {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	var out []string
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || !namespaces[to] {
			continue
		}
		status, err := os.ReadFile(filepath.Join(l, "../../status"))
		if err == nil && !strings.Contains(string(status), "State:\tZ") {
			out = append(out, l)
		}
	}
	return out
}

func pidsOf(l *lab.Lab) []int {
	var out []int
	for _, h := range l.Status().Hosts {
		out = append(out, h.PID)
	}
	return out
}

func stateDirOf(t *testing.T) string {
	t.Helper()
	return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "routerd-lab")
}

func TestUpAndDownLeaveNothing(t *testing.T) {
	before := lookAtMachine(t)
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			l, err := lab.Up(t.Context(), lab.Options{Name: "nothing", Firewall: firewall})
			if err != nil {
				t.Fatal(err)
			}
			inside := namespacesOf(t, pidsOf(l)...)
			during := lookAtMachine(t)
			if err := l.Down(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, during); diff != "" {
				t.Errorf("the machine changed while a lab was up (-before +during):\n%s", diff)
			}
			if diff := cmp.Diff(before, lookAtMachine(t)); diff != "" {
				t.Errorf("something is left (-before +after):\n%s", diff)
			}
			if left := livingIn(inside); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			if _, err := os.Stat(filepath.Join(stateDirOf(t), "nothing.json")); !os.IsNotExist(err) {
				t.Errorf("state file is left: %v", err)
			}
			if err := l.Down(); err != nil {
				t.Errorf("second Down: %v", err)
			}
		})
	}
}

// raising is a `rdlab up` in a process of its own.
type raising struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	dir   string // its run-time directory
}

func startUp(t *testing.T, args ...string) *raising {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(sharedLab(t).Program(), append([]string{"up"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &raising{cmd: cmd, lines: bufio.NewScanner(progress), dir: dir}
}

// until reads progress up to a line that holds the words.
func (r *raising) until(t *testing.T, words string) {
	t.Helper()
	for r.lines.Scan() {
		if strings.Contains(r.lines.Text(), words) {
			return
		}
	}
	t.Fatalf("up never said %q", words)
}

// holders are its children that hold hosts.
func (r *raising) holders(t *testing.T) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	parent := fmt.Sprintf("\nPPid:\t%d\n", r.cmd.Process.Pid)
	var out []int
	for _, f := range files {
		status, _ := os.ReadFile(f) // that of a process that ended meanwhile is empty
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if strings.Contains(string(status), parent) && strings.Contains(string(line), "\x00hold\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			out = append(out, pid)
		}
	}
	return out
}

func TestUpThatIsInterruptedLeavesNothing(t *testing.T) {
	for _, words := range []string{"laying cables", "loading firewalls", "starting servers", "checking"} {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
			t.Run(words+" "+signal.String(), func(t *testing.T) {
				r := startUp(t)
				r.until(t, words)
				holders := r.holders(t)
				if len(holders) != len(lab.Hosts()) {
					t.Fatalf("found %d holders: %v", len(holders), holders)
				}
				inside := namespacesOf(t, holders...)
				if err := r.cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				for r.lines.Scan() { // up to the end of the pipe
				}
				if err := r.cmd.Wait(); err == nil {
					t.Error("an interrupted up ended with 0")
				}
				eventually(t, "all processes end", func() bool { return len(livingIn(inside)) == 0 })
				eventually(t, "no file is left", func() bool { return len(list(t, r.dir)) == 0 })
			})
		}
	}
}

func TestForegroundLabEndsWithItsCommand(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			r := startUp(t, "--foreground", "--name", "fore")
			r.until(t, "ready")
			inside := namespacesOf(t, r.holders(t)...)
			eventually(t, "the state file", func() bool { return len(list(t, r.dir)) == 1 })
			if err := r.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = r.cmd.Wait()
			eventually(t, "all processes end", func() bool { return len(livingIn(inside)) == 0 })
			eventually(t, "no file is left", func() bool { return len(list(t, r.dir)) == 0 })
		})
	}
}

// commands runs rdlab with a run-time directory of its own.
type commands struct{ program, dir string }

func newCommands(t *testing.T) commands {
	t.Helper()
	c := commands{program: sharedLab(t).Program(), dir: t.TempDir()}
	t.Cleanup(func() { _, _ = c.run("down", "--all") })
	return c
}

func (c commands) run(args ...string) (string, error) {
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+c.dir)
	out, err := cmd.Output()
	return string(out), err
}

// up raises a lab and gives the processes of its hosts.
func (c commands) up(t *testing.T, options ...string) []int {
	t.Helper()
	out, err := c.run(append([]string{"up", "--json"}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	var s lab.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var pids []int
	for _, h := range s.Hosts {
		pids = append(pids, h.PID)
		if !h.Running {
			t.Errorf("%s has ended", h.Name)
		}
	}
	return pids
}

func TestDetachedLabOutlivesUpAndEndsWithDown(t *testing.T) {
	c := newCommands(t)
	inside := namespacesOf(t, c.up(t)...)
	if _, err := c.run("up"); err == nil {
		t.Error("a second lab of the name was raised")
	}
	if out, err := c.run("exec", "client", "hostname"); err != nil || strings.TrimSpace(out) != "client" {
		t.Errorf("exec gives %q, %v", out, err)
	}
	for range 2 { // ending a lab that is not up is no error
		if _, err := c.run("down"); err != nil {
			t.Fatal(err)
		}
	}
	if left := livingIn(inside); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left := list(t, c.dir); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestTunnelToExit2CanLackIPv6(t *testing.T) {
	l := labtest.Up(t, lab.Options{Exit2NoIPv6: true})
	for name, want := range map[string]bool{"home": true, "other": false} {
		got, err := l.WGQuick(name)
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(string(got), "::"); has != want {
			t.Errorf("%s.conf has IPv6: %v, want %v", name, has, want)
		}
	}
	if got := labtest.Run(t, l, lab.Exit2, "ip", "-6", "address", "show", "dev", lab.TunnelDevice, "scope", "global"); got != "" {
		t.Errorf("the device of exit2 has %s", got)
	}
}

func TestTwoLabsRunSideBySide(t *testing.T) {
	one, two := sharedLab(t), labtest.Up(t, lab.Options{Firewall: lab.IPTables})
	if one.Name() == two.Name() {
		t.Fatalf("both are named %s", one.Name())
	}
	for _, l := range []*lab.Lab{one, two} {
		if err := l.WriteFile(lab.Router, "/etc/config/whose", []byte(l.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
		labtest.Run(t, l, lab.Client, l.Program(), "client", "fetch", "https://www.binance.com/")
	}
	known, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*lab.Lab{one, two} {
		got, err := l.ReadFile(lab.Router, "/etc/config/whose")
		if err != nil || string(got) != l.Name() {
			t.Errorf("router of %s has the file of %q, %v", l.Name(), got, err)
		}
		if !slices.Contains(known, l.Name()) {
			t.Errorf("%s is not among %v", l.Name(), known)
		}
	}
}

func TestEndOfOneLabLeavesTheOther(t *testing.T) {
	one := labtest.Up(t, lab.Options{Name: "first"})
	two := labtest.Up(t, lab.Options{Name: "second"})
	if err := one.Down(); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(labtest.Run(t, two, lab.Net, "hostname")); got != "net" {
		t.Errorf("host name is %q", got)
	}
	if _, err := lab.Open("second"); err != nil {
		t.Error(err)
	}
	if _, err := one.Run(t.Context(), lab.Net, "hostname"); err == nil {
		t.Error("a program ran in a lab that has ended")
	}
}
