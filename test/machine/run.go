package machine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/routerd/routerd/test/machine/job"
)

// Options are how a command is run.
type Options struct {
	// Dir is the folder that the command is started in; it must be in one of
	// Shares or in the repository.
	Dir string
	// Env is added to the environment, each as NAME=value.
	Env []string
	// Shares are more folders that the machine sees, read-only, at their path.
	Shares []string
	// Memory is the machine's, MiB; 0: what the target has.
	Memory int
	// Counted has the machine's time pass by the instructions that it executes,
	// for as long as it has any to execute: what others do on this machine then
	// changes nothing of what is measured in it.
	Counted bool
	// Terminal says that standard input is a person's terminal in raw mode.
	Terminal      bool
	Rows, Columns uint16
	// Stdin is what is typed; nil: nothing ever is.
	Stdin *os.File
	// Stdout takes what the command writes, errors included.
	Stdout io.Writer
}

// Version is the kernel's, once Fetch has been done.
func (c Cache) Version(t Target) (string, error) {
	raw, err := os.ReadFile(filepath.Join(c.folder(t), "version"))
	if err != nil {
		return "", fmt.Errorf("read kernel's version: %w", err)
	}
	return string(raw), nil
}

// Run boots a machine for one command and gives what came of it. The machine
// ends with the command, or when ctx ends. An exit status other than 0 is no
// error; a machine that breaks down is, with the end of what it said.
func (c Cache) Run(ctx context.Context, t Target, argv []string, o Options) (job.Result, error) {
	if err := c.Fetch(ctx, t); err != nil {
		return job.Result{}, err
	}
	if _, err := exec.LookPath(t.QEMU); err != nil {
		return job.Result{}, fmt.Errorf("%s is needed for a %s machine: apt-get install --no-install-recommends %s", t.QEMU, t.Name, t.Package)
	}
	temp, err := os.MkdirTemp("", "routerd-machine-")
	if err != nil {
		return job.Result{}, fmt.Errorf("make folder of machine: %w", err)
	}
	defer os.RemoveAll(temp)
	j := c.job(t, argv, o)
	initrd := filepath.Join(temp, "initrd")
	if err := c.writeInitrd(ctx, t, j, initrd); err != nil {
		return job.Result{}, err
	}
	monitor := filepath.Join(temp, "monitor")
	arguments := append(c.arguments(t, j, o, initrd), "-qmp", "unix:"+escape(monitor)+",server=on,wait=off")
	for try := 1; ; try++ {
		r, err := boot(ctx, exec.CommandContext(ctx, t.QEMU, arguments...), monitor, j, o)
		if !errors.Is(err, errNoBoot) || try == tries || ctx.Err() != nil {
			return r, err
		}
		c.Say("%s: booting again: %s", t.Name, firstProgram(err.Error()))
	}
}

// tries is how often a machine is booted until the command begins. Kernels check
// their timers against each other when they boot, and panic where a busy machine
// lets the emulator wait; of those with a Timer of their own, three in eight take
// another. The command itself is never run twice.
const tries = 10

// firstProgram is what a machine's first program said went wrong, or all of said: what
// the kernel wrote matters where that program did not come as far.
func firstProgram(said string) string {
	for line := range strings.Lines(said) {
		if why, found := strings.CutPrefix(line, "init: error: "); found {
			return strings.TrimSpace(why)
		}
	}
	return said
}

// errNoBoot says that a machine broke down before the command began.
var errNoBoot = errors.New("the machine broke down before the command began")

// job says what the machine is to do.
func (c Cache) job(t Target, argv []string, o Options) job.Job {
	j := job.Job{
		ID: rand.Text()[:8], Argv: argv, Dir: o.Dir, Env: o.Env, Now: time.Now(),
		Terminal: o.Terminal, Rows: o.Rows, Columns: o.Columns,
	}
	if j.Dir == "" {
		j.Dir = "/"
	}
	if t.Debian != "" {
		j.Tools = "/dev/vda"
	}
	folders := append([]string{c.Root}, o.Shares...)
	if o.Counted {
		j.Timer = t.Timer
	}
	for i, dir := range slices.Compact(folders) {
		j.Shares = append(j.Shares, job.Share{Tag: "share" + strconv.Itoa(i), Path: dir})
	}
	return j
}

// arguments are QEMU's.
func (c Cache) arguments(t Target, j job.Job, o Options, initrd string) []string {
	memory := t.Memory
	if o.Memory > 0 {
		memory = o.Memory
	}
	args := append([]string{"-chardev", "stdio,id=console,signal=off"}, t.Args...)
	args = append(args,
		"-m", strconv.Itoa(memory), "-display", "none", "-monitor", "none", "-no-reboot", "-nodefaults",
		"-kernel", filepath.Join(c.folder(t), "kernel"), "-initrd", initrd,
		"-append", "console="+t.Console+" quiet loglevel=3 panic=-1 no_timer_check",
		"-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-"+t.Bus+",rng=rng")
	if o.Counted {
		// Some kernels measure their processor by the clock that has the date.
		args = append(args, "-icount", "shift="+strconv.Itoa(countedShift)+",sleep=on,align=off", "-rtc", "clock=vm")
	}
	share := func(tag, dir string) {
		args = append(args,
			"-fsdev", "local,security_model=none,readonly=on,multidevs=remap,id="+tag+",path="+escape(dir),
			"-device", "virtio-9p-"+t.Bus+",fsdev="+tag+",mount_tag="+tag)
	}
	if j.Tools != "" {
		args = append(args, "-drive", "if=none,id=tools,format=raw,snapshot=on,file="+escape(filepath.Join(c.folder(t), "tools.ext4")),
			"-device", "virtio-blk-"+t.Bus+",drive=tools")
	}
	for _, s := range j.Shares {
		share(s.Tag, s.Path)
	}
	return args
}

// countedShift is the logarithm of the nanoseconds that an instruction takes where
// time is counted: 250 million of them are a second, as on a small router.
const countedShift = 2

// escape is a value of one of QEMU's options: a comma would end it.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// writeInitrd writes the initial file system: the first program, modules, job.
func (c Cache) writeInitrd(ctx context.Context, t Target, j job.Job, file string) error {
	program := file + ".init"
	build := exec.CommandContext(ctx, filepath.Join(c.Root, "scripts/cross"), t.Arch,
		"build", "-o", program, "./test/machine/cmd/init")
	build.Dir = c.Root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build init for %s: %w\n%s", t.Arch, err, lastLines(string(out), 10))
	}
	var b bytes.Buffer
	a := newArchive(&b)
	for name, from := range map[string]string{"init": program} {
		content, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("make initial file system: %w", err)
		}
		a.file(name, 0o755, content)
	}
	modules, err := filepath.Glob(filepath.Join(c.folder(t), "modules/*"))
	if err != nil {
		return fmt.Errorf("make initial file system: %w", err)
	}
	for _, m := range modules {
		content, err := os.ReadFile(m)
		if err != nil {
			return fmt.Errorf("make initial file system: %w", err)
		}
		a.file("modules/"+filepath.Base(m), 0o644, content)
	}
	text, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("make initial file system: %w", err)
	}
	a.file(strings.TrimPrefix(job.File, "/"), 0o600, text)
	a.device("dev/console", 0o600, 5, 1)
	if err := a.close(); err != nil {
		return fmt.Errorf("make initial file system: %w", err)
	}
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// boot runs the emulator until the command has ended. The emulator ends with this
// process, however that ends: go test kills what it runs when its time is over. It is
// ended where it hangs, which its monitor's socket tells.
func boot(ctx context.Context, qemu *exec.Cmd, monitor string, j job.Job, o Options) (job.Result, error) {
	// The kernel means the thread by the parent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c := &console{job: j, out: o.Stdout}
	out, err := qemu.StdoutPipe()
	if err != nil {
		return job.Result{}, fmt.Errorf("start machine: %w", err)
	}
	var failed bytes.Buffer
	qemu.Stderr = &failed
	if o.Stdin != nil {
		qemu.Stdin = o.Stdin
	}
	if err := qemu.Start(); err != nil {
		return job.Result{}, fmt.Errorf("start machine: %w", err)
	}
	watched, stop := context.WithCancel(ctx)
	var hung atomic.Bool
	var watch sync.WaitGroup
	watch.Go(func() {
		if hangs(watched, monitor, patience) {
			hung.Store(true)
			_ = qemu.Process.Kill()
		}
	})
	failure := follow(out, c)
	stop()
	watch.Wait()
	// The machine has nothing more to say; it need not shut down.
	_ = qemu.Process.Kill()
	_ = qemu.Wait()
	switch {
	case c.result != nil:
		r := *c.result
		r.Work = int((qemu.ProcessState.UserTime() + qemu.ProcessState.SystemTime()).Milliseconds())
		return r, nil
	case ctx.Err() != nil:
		return job.Result{}, fmt.Errorf("the machine was stopped: %w", context.Cause(ctx))
	case failure != nil:
		return job.Result{}, failure
	case hung.Load():
		return job.Result{}, fmt.Errorf("%w\n%s", ErrHung, c.tail())
	}
	if !c.on {
		return job.Result{}, fmt.Errorf("%w\n%s%s", errNoBoot, failed.String(), c.tail())
	}
	return job.Result{}, fmt.Errorf("the machine broke down while the command ran\n%s%s", failed.String(), c.tail())
}

// Together has all that a command starts end with its context: a command that is
// killed alone leaves its children at work, make its compilers and go test its
// machines.
func Together(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return cmd
}

// follow copies what the machine writes to the console until the command has
// ended or the machine has.
func follow(from io.Reader, c *console) error {
	b := make([]byte, 16<<10)
	for c.result == nil {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read from machine: %w", err)
		}
	}
	return nil
}
