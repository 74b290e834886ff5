package dns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isolation is set in the environment of the process that runs the tests inside
// namespaces of its own.
const isolation = "DNS_TEST_ISOLATED"

// TestMain runs the tests in network and process namespaces of their own: all
// ports are free, and the kernel ends every server that they started.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			os.Exit(playServer())
		case "fill":
			os.Exit(playFull())
		}
	}
	if os.Getenv(isolation) == "" && os.Geteuid() == 0 {
		os.Exit(runIsolated())
	}
	if os.Getenv(isolation) != "" {
		if err := isolate(); err != nil {
			fmt.Fprintln(os.Stderr, "isolate tests:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func runIsolated() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), isolation+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run tests in namespaces:", err)
		return 1
	}
	return 0
}

func isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	// Programs that look at AI_ADDRCONFIG need one of each family.
	for _, text := range []string{"2001:db8:f::53/128", "192.0.2.53/32"} {
		addr, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrReplace(lo, addr); err != nil {
			return err
		}
	}
	return nil
}

// needIsolation skips a test that would touch the machine's own network.
func needIsolation(t testing.TB) {
	t.Helper()
	if os.Getenv(isolation) == "" {
		t.Skip("needs root, for namespaces")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
