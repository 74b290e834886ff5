package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// host is a holder that this process has started.
type host struct {
	name     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	requests *json.Encoder
	replies  *json.Decoder
}

// namespaces are what a host has for itself.
const namespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// spawn starts a holder; wait for it with ready.
func spawn(program string, o HoldOptions) (*host, error) {
	cmd := exec.Command(program, "hold", "--lab", o.Lab, "--host", o.Host, "--id", o.ID, "--state-dir", o.StateDir)
	// A session of its own: a terminal's Ctrl-C goes to the raiser, which
	// takes the hosts down in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true}
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe to %s: %w", o.Host, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe from %s: %w", o.Host, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start host %s (needs root and namespaces in the kernel): %w", o.Host, err)
	}
	return &host{name: o.Host, cmd: cmd, in: in, requests: json.NewEncoder(in), replies: json.NewDecoder(out)}, nil
}

// ready waits until the holder has made its file system.
func (h *host) ready() error {
	if err := h.answer(); err != nil {
		return fmt.Errorf("make host %s: %w", h.name, err)
	}
	return nil
}

// start runs a program inside for as long as the host lives.
func (h *host) start(name string, argv ...string) error {
	if err := h.requests.Encode(request{Name: name, Argv: argv}); err != nil {
		return fmt.Errorf("ask host %s: %w", h.name, err)
	}
	if err := h.answer(); err != nil {
		return fmt.Errorf("start %s on %s: %w", name, h.name, err)
	}
	return nil
}

func (h *host) answer() error {
	var r reply
	if err := h.replies.Decode(&r); err != nil {
		return fmt.Errorf("read answer of holder: %w", err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

// release frees what this process holds of a holder that has ended; one that
// had no time to become part of the lab is killed.
func (h *host) release() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	_ = h.in.Close()
}
