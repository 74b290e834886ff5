package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/owned"
)

// isolation is set in the environment of the process that runs the tests inside
// namespaces of its own.
const isolation = "TUNNEL_TEST_ISOLATED"

// TestMain runs the tests in network, mount and process namespaces of their
// own: nothing of them is seen outside, and the kernel ends all they started
// when they end, however that is. The test binary also plays two other parts:
// the userspace process of a tunnel and a daemon that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "wireguard":
			os.Exit(playUserspace())
		case "manage":
			os.Exit(playDaemon())
		}
	}
	if os.Getenv(isolation) != "" {
		if err := isolate(); err != nil {
			fmt.Fprintln(os.Stderr, "isolate tests:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // what needs namespaces is skipped
	}
	os.Exit(runIsolated())
}

func runIsolated() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), isolation+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
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
	if err := os.MkdirAll(socketDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", socketDir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", socketDir, err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// needIsolation skips a test that would touch the machine's own network.
func needIsolation(t *testing.T) {
	t.Helper()
	if os.Getenv(isolation) == "" {
		t.Skip("needs root, for namespaces")
	}
}

// playUserspace is what the hidden command of routerd does.
func playUserspace() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 4 && os.Args[3] == "rd-broken" {
		fmt.Fprintln(os.Stderr, "error: something is broken")
		return 1
	}
	if err := RunUserspace(ctx, UserspaceOptions{Device: os.Args[3]}); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// playDaemon ensures one tunnel from a wg-quick file, says "ready" and waits to
// be killed.
func playDaemon() int {
	file, dir := os.Args[2], os.Args[3]
	settings, err := FromConfig(config.Tunnel{Name: "home", Type: config.TunnelWireGuard, File: file})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m := NewManager(slog.New(slog.DiscardHandler), ManagerOptions{StateDir: dir})
	if _, err := m.Ensure(context.Background(), []Spec{specOf(settings)}); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	select {}
}

const testMark = owned.Mark(0x01000000)

func specOf(s Settings) Spec {
	return Spec{
		Name: "home", Type: config.TunnelWireGuard, Device: "rd-home",
		Backend: config.BackendUserspace, Settings: s, Mark: testMark,
	}
}
