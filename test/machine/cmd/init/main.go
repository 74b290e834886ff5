// Command init is the first program of a machine: it finds the job, lays the
// file system, runs the command and tells what came of it. Package machine has
// the other side.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/machine/job"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "init: error:", err)
	}
	// Whatever was printed is on its way before the machine ends.
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func run() error {
	if err := mountAll(
		mount{"devtmpfs", "/dev", "devtmpfs", ""},
		mount{"proc", "/proc", "proc", ""},
		mount{"sysfs", "/sys", "sysfs", ""},
	); err != nil {
		return err
	}
	if err := takeConsole(); err != nil {
		return err
	}
	j, err := readJob()
	if err != nil {
		return err
	}
	if err := checkTimer(clockEvents, j.Timer); err != nil {
		return err
	}
	now := unix.NsecToTimeval(j.Now.UnixNano())
	if err := unix.Settimeofday(&now); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := layRoot(j); err != nil {
		return err
	}
	if err := upLoopback(); err != nil {
		return err
	}
	return perform(j)
}

// takeConsole makes the console standard input, output and error.
func takeConsole() error {
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(int(console.Fd()), fd, 0); err != nil && int(console.Fd()) != fd {
			return fmt.Errorf("take console: %w", err)
		}
	}
	return nil
}

func readJob() (job.Job, error) {
	var j job.Job
	raw, err := os.ReadFile(job.File)
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return j, fmt.Errorf("parse %s: %w", job.File, err)
	}
	return j, nil
}

// clockEvents names the clock event device that the kernel has taken
// (kernel/time/clockevents.c).
const clockEvents = "/sys/devices/system/clockevents/clockevent0/current_device"

// checkTimer says whether the kernel has taken the wanted clock event device.
func checkTimer(file, want string) error {
	if want == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("which timer the kernel has taken: %w", err)
	}
	if got := strings.TrimSpace(string(raw)); got != want {
		return fmt.Errorf("the kernel has taken the timer %s instead of %s", got, want)
	}
	return nil
}

// loadModules loads the modules of a folder in the order of its file list.
func loadModules(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "list"))
	if err != nil {
		return err
	}
	for name := range linesOf(string(raw)) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		// Some are for a kind of CPU that this one is not, others take their place.
		if err != nil && err != unix.EEXIST && err != unix.ENODEV {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return waitForDevices()
}

// waitForDevices waits until the bus has shown the first 9P device: devices are
// found after the module has been loaded, not while.
func waitForDevices() error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		tags, err := filepath.Glob("/sys/bus/virtio/drivers/9pnet_virtio/virtio*")
		if err != nil {
			return err
		}
		if len(tags) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no 9P device was found")
}
