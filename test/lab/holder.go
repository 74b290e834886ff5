package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// runDir holds the lab's own files inside a host.
const runDir = "/run/lab"

// HoldOptions say which host a holder is.
type HoldOptions struct {
	Lab, Host string
	ID        string // of this raising of the lab, as in the state file
	StateDir  string // as the machine sees it
}

// request asks a holder to start a program that lives as long as the host.
type request struct {
	Name string   `json:"name"` // of its log: /run/lab/NAME.log
	Argv []string `json:"argv"`
}

// reply answers a request, and says once at the start that the host is made.
type reply struct {
	Error string `json:"error"`
}

// holder is PID 1 of a host.
type holder struct {
	o    HoldOptions
	base int // descriptor of the directory that holds the machine's state directory

	mu      sync.Mutex // guards daemons, held across fork
	daemons map[int]string
}

// Hold is what `rdlab hold` runs as PID 1 of a host's namespaces. It makes the
// file system private, then starts the programs that in asks for, one JSON
// request after another. At the end of in it stays only if the lab was
// committed (its state file says so): a holder whose raiser died goes too, and
// with it the whole host.
func Hold(o HoldOptions, in io.Reader, out io.Writer) error {
	h := &holder{o: o, daemons: map[int]string{}}
	err := h.prepare()
	answer := json.NewEncoder(out)
	if e := answer.Encode(asReply(err)); e != nil || err != nil {
		return errors.Join(err, e)
	}
	go h.reap()
	requests := json.NewDecoder(in)
	for {
		var r request
		if err := requests.Decode(&r); err != nil {
			break // the raiser is done, or dead
		}
		if err := answer.Encode(asReply(h.start(r))); err != nil {
			break
		}
	}
	if h.committed() {
		select {} // until killed
	}
	return nil
}

func asReply(err error) reply {
	if err == nil {
		return reply{}
	}
	return reply{Error: err.Error()}
}

// prepare opens the way to the machine's state files while it can still be
// seen, then makes the host's file system. It is the directory above that is
// held: the state directory comes and goes with the labs.
func (h *holder) prepare() error {
	fd, err := unix.Open(filepath.Dir(h.o.StateDir), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open run-time directory: %w", err)
	}
	h.base = fd
	if err := mountHost(h.o.Host); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(h.o.Host)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return nil
}

// start runs a program with its output in a log file. It forks by hand because
// reap waits for every child, as PID 1 must, and would race with os/exec.
func (h *holder) start(r request) error {
	if len(r.Argv) == 0 {
		return errors.New("start program: no program named")
	}
	path, err := exec.LookPath(r.Argv[0])
	if err != nil {
		return fmt.Errorf("find program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(runDir, r.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open input: %w", err)
	}
	defer null.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	pid, err := syscall.ForkExec(path, r.Argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", r.Argv[0], err)
	}
	h.daemons[pid] = r.Name
	return nil
}

// reap waits for every process of the host that has no other parent.
func (h *holder) reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for h.reapOne() {
		}
	}
}

// reapOne says whether there may be another one.
func (h *holder) reapOne() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if name, ok := h.daemons[pid]; ok {
		delete(h.daemons, pid)
		h.note(fmt.Sprintf("%s ended: exit status %d, signal %v\n", name, status.ExitStatus(), status.Signal()))
	}
	return true
}

// note appends to the host's own log, which the raiser shows when a lab does
// not come up. A log that cannot be written has nobody to be told.
func (h *holder) note(line string) {
	f, err := os.OpenFile(filepath.Join(runDir, "holder.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(line)
}

// committed says whether the host shall outlive its raiser. If not, it removes
// what the raiser of an attached lab could not: the state file, and the state
// directory with the last one.
func (h *holder) committed() bool {
	dir := filepath.Base(h.o.StateDir)
	file := filepath.Join(dir, stateFile(h.o.Lab))
	s, err := h.readState(file)
	if err != nil || s.ID != h.o.ID {
		return false
	}
	if !s.Attached {
		return true
	}
	_ = unix.Unlinkat(h.base, file, 0)
	_ = unix.Unlinkat(h.base, dir, unix.AT_REMOVEDIR) // fails while another lab's file is in it
	return false
}

func (h *holder) readState(file string) (state, error) {
	fd, err := unix.Openat(h.base, file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return state{}, fmt.Errorf("open state: %w", err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	var s state
	if err := json.NewDecoder(f).Decode(&s); err != nil {
		return state{}, fmt.Errorf("read state: %w", err)
	}
	return s, nil
}
