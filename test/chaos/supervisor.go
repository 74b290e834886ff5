package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// What openwrt/routerd/files/etc/init.d/routerd has procd do.
const (
	respawnTime = time.Second
	termTime    = 10 * time.Second
	// goMemory is a quarter of a router's 128 MiB.
	goMemory = "GOMEMLIMIT=32768KiB"
)

// supervisor runs the daemon in the router as procd does: one that ends by itself
// is started again a second later.
type supervisor struct {
	lab  *lab.Lab
	log  *os.File            // what the daemons write
	born func(pid int) error // is told of each new process
	// program is where the daemon's program lies, as on a router.
	program string

	mu      sync.Mutex
	process *os.Process   // nil: none runs; guarded by mu
	ended   chan struct{} // closed when process has ended; guarded by mu
	wanted  bool          // whether one shall run; guarded by mu
	failed  error         // to start; guarded by mu
	deaths  int           // that nobody asked for; guarded by mu
}

// start starts the daemon and has it started again from now on.
func (s *supervisor) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = true
	return s.spawn()
}

// spawn is called with mu held.
func (s *supervisor) spawn() error {
	cmd := exec.Command(s.program, "run")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.Env = append(os.Environ(), goMemory)
	if err := s.lab.Start(lab.Router, cmd); err != nil {
		s.failed = err
		return err
	}
	ended := make(chan struct{})
	s.process, s.ended = cmd.Process, ended
	go func() { // ends with the process, or a respawn after it
		_ = cmd.Wait()
		close(ended)
		s.buried(cmd.Process)
	}()
	if s.born == nil {
		return nil
	}
	return s.born(cmd.Process.Pid)
}

// buried starts another process in the place of one that has ended.
func (s *supervisor) buried(p *os.Process) {
	s.mu.Lock()
	again := s.process == p && s.wanted
	if s.process == p {
		s.process = nil
	}
	if again {
		s.deaths++
	}
	s.mu.Unlock()
	if !again {
		return
	}
	<-time.After(respawnTime)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted && s.process == nil {
		_ = s.spawn() // kept in failed
	}
}

// kill kills the daemon; procd starts it again.
func (s *supervisor) kill() error {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil {
		return nil // between two lives already
	}
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the daemon: %w", err)
	}
	return nil
}

// stop ends the daemon as procd does, and it stays ended.
func (s *supervisor) stop(ctx context.Context) error {
	s.mu.Lock()
	s.wanted = false
	p, ended := s.process, s.ended
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the daemon: %w", err)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(termTime):
	}
	_ = p.Kill()
	return fmt.Errorf("the daemon did not end within %s of SIGTERM", termTime)
}

// use puts another program in the place of the daemon's, as a package does.
func (s *supervisor) use(program string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the daemon's program: %w", err)
	}
	next := s.program + ".new"
	if err := errors.Join(os.WriteFile(next, b, 0o755), os.Rename(next, s.program)); err != nil {
		return fmt.Errorf("put the daemon's program in its place: %w", err)
	}
	return nil
}

// pid is the daemon's, or 0 while none runs.
func (s *supervisor) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// fault is why the daemon could not be started, or nil.
func (s *supervisor) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
