package daemon

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// inside is given to the process that runs one test in namespaces of its own.
var inside = flag.Bool("inside", false, "run in namespaces made for one test")

func TestMain(m *testing.M) {
	flag.Parse()
	if *inside {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "prepare namespaces:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// settle makes the namespaces a machine of its own.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

// isolated has the calling test run in a process with a network, mounts and
// processes of its own: every goroutine of a daemon is then in that network.
// It returns false in the process outside, where there is nothing left to do.
func isolated(t *testing.T) bool {
	t.Helper()
	if *inside {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for namespaces")
	}
	cmd := exec.Command("/proc/self/exe", "-inside", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Fatalf("in its namespaces: %v", err)
	}
	return false
}

// router is a machine with a LAN, a WAN and a tunnel that somebody else made,
// on which a daemon can run.
type router struct {
	*testing.T
	o    Options
	log  *lines
	stop context.CancelFunc // of the daemon that runs
	done chan error
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

const machine = `
ip link add br-lan type veth peer name far-br-lan
ip link set far-br-lan up
ip link add wan type veth peer name far-wan
ip link set far-wan up
ip link add tun0 type veth peer name far-tun0
ip link set far-tun0 up
ip addr add 192.168.1.1/24 dev br-lan
ip addr add 9.9.1.2/24 dev wan
ip addr add 10.99.0.2/24 dev tun0
ip link set br-lan up
ip link set wan up
ip link set tun0 up
ip route add default via 9.9.1.1 dev wan
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv6.conf.all.forwarding=1
`

func newRouter(t *testing.T) *router {
	t.Helper()
	if !*inside {
		t.Fatal("a router is made in namespaces of its own: see isolated")
	}
	dir := t.TempDir()
	r := &router{T: t, log: &lines{}}
	r.o = Options{
		ConfigFile: filepath.Join(dir, "routerd"), Socket: filepath.Join(dir, "sock"), StateDir: filepath.Join(dir, "state"),
		BPFDir: filepath.Join(dir, "bpf", "routerd"), ListDir: filepath.Join(dir, "lists"), Version: "test", LogLevel: new(slog.LevelVar),
	}
	r.o.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: r.o.LogLevel}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.log.String())
		}
		_ = unix.Unmount(r.o.BPFDir, unix.MNT_DETACH) // if it is a mount of its own
	})
	r.run(machine)
	return r
}

// run runs commands, one a line, and gives what they print.
func (r *router) run(commands string) string {
	r.Helper()
	var out strings.Builder
	for line := range strings.Lines(commands) {
		args := strings.Fields(line)
		if len(args) == 0 {
			continue
		}
		b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			r.Fatalf("%s: %v\n%s", line, err, b)
		}
		out.Write(b)
	}
	return out.String()
}

// set writes the settings: section main with the tunnel tun0, and more.
func (r *router) set(main, more string) {
	r.Helper()
	text := "config routerd 'main'\n\tlist lan 'br-lan'\n" + main + "\n" + tunnelSection + more
	if err := os.WriteFile(r.o.ConfigFile, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

const tunnelSection = `
config tunnel 'other'
	option type 'interface'
	option device 'tun0'
`

const exchanges = `
config destination 'exchanges'
	list domain 'example.org'
	list address '5.5.5.0/24'
	option policy 'tunnel'
	option fallback 'block'
`

// start runs the daemon until the test ends or halt is called.
func (r *router) start() {
	r.Helper()
	before := len(r.log.String())
	r.begin()
	// Once the first apply is over, the daemon answers; after the second it is
	// settled.
	words := regexp.MustCompile("settings applied|are mended|will try again")
	r.wait("the daemon answers", func() bool {
		_, err := r.client().Status(context.Background())
		return err == nil && words.MatchString(r.log.String()[before:])
	})
}

// begin is start without a wait.
func (r *router) begin() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.done = stop, make(chan error, 1)
	go func() { r.done <- Run(ctx, r.o) }() // ends with halt
	r.Cleanup(r.halt)
}

// halt ends the daemon that runs, if one does.
func (r *router) halt() {
	r.Helper()
	if r.stop == nil {
		return
	}
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.Errorf("the daemon ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.Fatal("the daemon does not end")
	}
	r.stop = nil
}

func (r *router) client() *control.Client { return control.NewClient(r.o.Socket) }

// get is what the daemon answers to others than its own commands.
func (r *router) get(path string) string {
	r.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.o.Socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://routerd" + path)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.Fatalf("%s: status %d: %s, %v", path, resp.StatusCode, text, err)
	}
	return string(text)
}

// wait polls until a condition holds.
func (r *router) wait(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-r.done:
			r.stop = nil
			r.Fatalf("the daemon ended before %s: %v", what, err)
		default:
		}
		if ok() {
			return
		}
	}
	r.Fatalf("not within 20 s: %s", what)
}

func (r *router) status() control.Status {
	r.Helper()
	s, err := r.client().Status(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// reload has the daemon reload, and gives its error.
func (r *router) reload() error {
	r.Helper()
	_, err := r.client().Reload(context.Background())
	return err
}

// problem says whether the status names a problem with these words.
func (r *router) problem(words string) bool {
	r.Helper()
	return strings.Contains(strings.Join(r.status().Problems, "\n"), words)
}

// path is where a destination goes; "" where it goes nowhere yet.
func (r *router) path(name string) string {
	r.Helper()
	s, err := r.client().Status(context.Background())
	if err != nil {
		return ""
	}
	for _, d := range s.Destinations {
		if d.Name == name {
			return d.Path
		}
	}
	return ""
}

// rules are the policy rules of ours.
func (r *router) rules() string { return r.run("ip -4 rule show priority 700") }

// need fails the test where an error stands in its way.
func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect fails the test, which goes on, where something does not hold.
func expect(t testing.TB, holds bool, format string, args ...any) {
	t.Helper()
	if !holds {
		t.Errorf(format, args...)
	}
}
