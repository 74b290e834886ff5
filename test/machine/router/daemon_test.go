package router

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// routerdFile is the daemon under test, built as it is shipped.
var routerdFile = flag.String("routerd", "", "the routerd to test; without it, one is built")

// counted says that time passes by instructions here (scripts/vm --counted), which
// others' work on this machine does not change.
var counted = flag.Bool("counted", false, "time is counted: hold the daemon to what it may take of it")

// usual bounds waits: these machines are slow.
const usual = 3 * time.Minute

func (w *world) binary() string {
	w.Helper()
	if w.installed != "" {
		return w.installed
	}
	w.installed = *routerdFile
	if w.installed == "" {
		w.installed = filepath.Join(w.dir, "routerd")
		if out, err := exec.Command("go", "build", "-o", w.installed, "../../../cmd/routerd").CombinedOutput(); err != nil {
			w.Fatalf("build routerd: %v\n%s", err, out)
		}
		return w.installed
	}
	if on9P(w.installed) && !inMemory("/var/tmp") {
		w.installed = w.copied(w.installed, "/var/tmp")
	}
	return w.installed
}

// copied copies a program to a machine's own disk, where a router has it. From a
// folder that the machine is shown, each page of it costs a request to the host,
// and half of a start was that.
func (w *world) copied(file, folder string) string {
	w.Helper()
	to, err := os.CreateTemp(folder, "routerd-")
	w.must(err)
	w.Cleanup(func() { os.Remove(to.Name()) })
	from, err := os.Open(file)
	w.must(err)
	defer from.Close()
	_, err = io.Copy(to, from)
	w.must(errors.Join(err, to.Chmod(0o755), to.Close()))
	return to.Name()
}

func on9P(file string) bool { return fileSystem(file) == unix.V9FS_MAGIC }

func inMemory(folder string) bool {
	return slices.Contains([]int64{unix.TMPFS_MAGIC, unix.RAMFS_MAGIC}, fileSystem(folder))
}

// fileSystem is the magic number of the file system that a file is on; 0 where
// there is no such file.
func fileSystem(file string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(file, &s); err != nil {
		return 0
	}
	return int64(s.Type)
}

// settings has the whole catalogue's exchanges and pools, as installed.
func (w *world) settings(tunnel string) {
	w.Helper()
	text := `
config routerd 'main'
	list lan 'br-lan'
	option wan 'wan'
	list resolver 'udp://` + resolver + `'
	option flow_offload '` + strconv.FormatBool(!w.slow) + `'
` + tunnel + `
config destination 'exchanges'
	list category 'exchange'
	option policy 'tunnel'
	option fallback 'block'

config destination 'others'
	list category 'pool'
	list category 'analytics'
	list category 'wallet'
	list category 'management'
	option policy 'tunnel'
`
	w.must(os.WriteFile(filepath.Join(w.dir, "routerd.uci"), []byte(text), 0o600))
}

func (w *world) bpfDir() string { return "/sys/fs/bpf/routerd-router-test" }

// command is one of routerd's, with the world's files.
func (w *world) command(args ...string) *exec.Cmd {
	socket := filepath.Join(w.dir, "routerd.sock")
	switch args[0] {
	case "run", "cleanup":
		args = append(args, "--config", filepath.Join(w.dir, "routerd.uci"), "--state-dir", filepath.Join(w.dir, "state"), "--bpf-dir", w.bpfDir())
	}
	cmd := exec.Command(w.binary(), append(args, "--socket", socket)...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+w.authorities()) // of crypto/x509
	return cmd
}

// start starts the daemon and waits until it steers: it answers, and the tunnel
// is up. It gives the time that took.
func (w *world) start() time.Duration {
	w.Helper()
	w.log = filepath.Join(w.dir, "log")
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.must(err)
	defer log.Close()
	w.daemon = w.command("run")
	w.daemon.Stdout, w.daemon.Stderr = log, log
	before := w.logged()
	w.began = time.Now()
	w.in(w.router, func() { err = w.daemon.Start() })
	w.must(err)
	// Not by the command, nor by asking from the beginning on: either takes of a small
	// processor what the daemon would wait for. A tunnel that was left up does not
	// change.
	w.often(2*startPoll, "routerd says that the tunnel is up, or that settings are applied", func() bool {
		said := w.logged()[len(before):]
		return strings.Contains(said, " to=up ") || strings.Contains(said, "settings applied")
	})
	asked := control.NewClient(filepath.Join(w.dir, "routerd.sock"))
	w.often(startPoll, "routerd steers", func() bool {
		s, err := asked.Status(w.Context())
		return err == nil && s.Running && len(s.Tunnels) == 1 && s.Tunnels[0].State == "up" && len(s.Destinations) == 2
	})
	return time.Since(w.began)
}

// startPoll is how often start asks, once the tunnel is up.
const startPoll = 25 * time.Millisecond

// logged is what daemons have written.
func (w *world) logged() string {
	w.Helper()
	raw, err := os.ReadFile(w.log)
	w.must(err)
	return string(raw)
}

// end ends the daemon by a signal.
func (w *world) end(signal syscall.Signal) {
	w.Helper()
	if w.daemon == nil {
		return
	}
	w.must(w.daemon.Process.Signal(signal))
	_ = w.daemon.Wait()
	w.daemon = nil
}

func (w *world) status() (control.Status, error) {
	var s control.Status
	out, err := w.command("status", "--json").Output()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

func (w *world) within(what string, ok func() bool) {
	w.Helper()
	w.often(500*time.Millisecond, what, ok)
}

// often is within, for what is measured.
func (w *world) often(every time.Duration, what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(usual); !ok(); time.Sleep(every) {
		if time.Now().After(deadline) {
			raw, _ := os.ReadFile(w.log)
			w.Fatalf("not within %s: %s; routerd wrote:\n%s", usual, what, raw)
		}
	}
}

// lookUp asks the public resolver, as a client does.
func (w *world) lookUp(name string) (string, error) {
	var address string
	var failure error
	w.in(w.client, func() {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
		c := dns.Client{Timeout: 20 * time.Second}
		for range 3 { // packets get lost
			var r *dns.Msg
			if r, _, failure = c.Exchange(m, resolver+":53"); failure == nil && len(r.Answer) == 1 {
				address = r.Answer[0].(*dns.A).A.String()
				return
			} else if failure == nil {
				failure = fmt.Errorf("answer for %s: %s, %d records", name, dns.RcodeToString[r.Rcode], len(r.Answer))
			}
		}
	})
	return address, failure
}

// open looks a name up and connects at once.
func (w *world) open(name, word string) (net.Conn, error) {
	address, err := w.lookUp(name)
	if err != nil {
		return nil, err
	}
	var c net.Conn
	w.in(w.client, func() { c, err = net.DialTimeout("tcp4", address+":80", time.Minute) })
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(usual))
	_, err = fmt.Fprintln(c, word)
	return c, err
}

// seen is the address that a name's server sees of the client.
func (w *world) seen(name string) string {
	c, err := w.open(name, "who")
	if err != nil {
		var refused syscall.Errno
		if errors.As(err, &refused) {
			return refused.Error()
		}
		return err.Error()
	}
	defer c.Close()
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}

// allGo fails unless every name is reached one way from its first packet.
func (w *world) allGo(want, form string, from, to int) {
	w.Helper()
	wrong := 0
	for n := from; n < to; n++ {
		name := fmt.Sprintf(form, n)
		if got := w.seen(name); got != want {
			if wrong++; wrong < 4 {
				w.Errorf("%s was reached as %s, want %s", name, got, want)
			}
		}
	}
	if wrong > 0 {
		w.Errorf("%d of %d went another way", wrong, to-from)
	}
}
