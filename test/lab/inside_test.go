package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

func errorAs(err error, target any) bool { return err != nil && errors.As(err, target) }

func TestHostsHaveTheirOwnFiles(t *testing.T) {
	l := sharedLab(t)
	for _, path := range []string{"/etc/lab-test", "/run/lab-test", "/var/lib/lab-test", "/var/log/lab-test", "/etc/routerd/x.conf"} {
		if err := l.WriteFile(lab.Router, path, []byte("router"), 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is seen on the machine", path)
		}
		if _, err := l.ReadFile(lab.Client, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is seen on client: %v", path, err)
		}
		if got, err := l.ReadFile(lab.Router, path); err != nil || string(got) != "router" {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
	if got := labtest.Run(t, l, lab.Router, "stat", "-c", "%a", "/etc/lab-test"); strings.TrimSpace(got) != "640" {
		t.Errorf("mode is %s", got)
	}
}

func TestHostsHaveTheirNamesAndNameServers(t *testing.T) {
	l := sharedLab(t)
	for host, server := range map[string]string{
		lab.Client: "192.168.1.1", lab.Client2: "192.168.1.1", lab.Router: "127.0.0.1", lab.Net: lab.Resolver4,
	} {
		if got := labtest.Run(t, l, host, "cat", "/etc/resolv.conf"); got != "nameserver "+server+"\n" {
			t.Errorf("%s asks %q", host, got)
		}
		if got := strings.TrimSpace(labtest.Run(t, l, host, "cat", "/etc/hostname")); got != host {
			t.Errorf("%s is named %q", host, got)
		}
	}
}

func TestWriteFileReplacesALinkInsteadOfFollowingIt(t *testing.T) {
	l := sharedLab(t)
	labtest.Run(t, l, lab.Client2, "ln", "-sf", "/run/elsewhere", "/etc/lab-link")
	if err := l.WriteFile(lab.Client2, "/etc/lab-link", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadFile(lab.Client2, "/run/elsewhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target of the link was written: %v", err)
	}
}

func TestHostsSeeOnlyTheirOwnProcessesAndDevices(t *testing.T) {
	l := sharedLab(t)
	if got := labtest.Run(t, l, lab.Client, "ps", "-e", "-o", "pid="); len(strings.Fields(got)) != 2 {
		t.Errorf("client sees processes %q, want its first and ps", got)
	}
	if got := strings.Fields(labtest.Run(t, l, lab.Client, "ls", "/sys/class/net")); strings.Join(got, " ") != "eth0 lo" {
		t.Errorf("client has devices %v", got)
	}
	if got := labtest.Run(t, l, lab.Router, "ls", "/sys/class/net"); !strings.Contains(got, lab.LANDevice) || !strings.Contains(got, lab.WANDevice) {
		t.Errorf("router has devices %q", got)
	}
}

func TestRouterHasABPFFileSystemOfItsOwn(t *testing.T) {
	l := sharedLab(t)
	labtest.Run(t, l, lab.Router, "mkdir", "/sys/fs/bpf/lab-test")
	if got := labtest.Run(t, l, lab.Router, "stat", "-f", "-c", "%T", "/sys/fs/bpf"); strings.TrimSpace(got) != "bpf_fs" {
		t.Errorf("/sys/fs/bpf is %s", got)
	}
	if _, err := os.Lstat("/sys/fs/bpf/lab-test"); err == nil {
		t.Error("the machine sees the router's pins")
	}
}

func TestRouterHasWGQuickFilesForItselfOnly(t *testing.T) {
	l := sharedLab(t)
	for name, endpoint := range map[string]string{"home": lab.ExitAddress4, "other": lab.Exit2Address} {
		got, err := l.WGQuick(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"[Interface]\nPrivateKey = ", "\n[Peer]\nPublicKey = ", "Endpoint = " + endpoint + ":51820", "AllowedIPs = 0.0.0.0/0, ::/0"} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s.conf lacks %q:\n%s", name, want, got)
			}
		}
		if mode := strings.TrimSpace(labtest.Run(t, l, lab.Router, "stat", "-c", "%a", "/etc/routerd/"+name+".conf")); mode != "600" {
			t.Errorf("%s.conf has mode %s", name, mode)
		}
	}
	if mode := strings.TrimSpace(labtest.Run(t, l, lab.Router, "stat", "-c", "%a", "/etc/routerd")); mode != "700" {
		t.Errorf("/etc/routerd has mode %s", mode)
	}
}

func TestCommandRunsInsideAndGivesItsStatus(t *testing.T) {
	l := sharedLab(t)
	cmd := l.Command(t.Context(), lab.Client2, "sh", "-c", "hostname; cat; exit 5")
	cmd.Stdin = strings.NewReader("typed\n")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if !errorAs(err, &failed) || failed.ExitCode() != 5 {
		t.Errorf("error is %v", err)
	}
	if string(out) != "client2\ntyped\n" {
		t.Errorf("output is %q", out)
	}
}

func TestCommandIsKilledWithEverythingItStarted(t *testing.T) {
	l := sharedLab(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := l.Command(ctx, lab.Client2, "sh", "-c", "echo begun; sleep 4321 & sleep 4322")
	var out bytes.Buffer
	cmd.Stdout = writerFunc(func(p []byte) (int, error) { stop(); return out.Write(p) })
	if err := cmd.Run(); err == nil {
		t.Error("a killed program ended well")
	}
	eventually(t, "the sleepers end", func() bool {
		left, _ := l.Run(t.Context(), lab.Client2, "pgrep", "-f", "sleep 432")
		return len(left) == 0
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStartedProgramGetsSignalsItself(t *testing.T) {
	l := sharedLab(t)
	cmd := exec.Command("sleep", "4323")
	if err := l.Start(lab.Client, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var failed *exec.ExitError
	if err := cmd.Wait(); !errorAs(err, &failed) {
		t.Fatalf("error is %v", err)
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended by %v", failed)
	}
}

func TestStartedProgramDiesWithItsHost(t *testing.T) {
	l := labtest.Up(t, lab.Options{})
	cmd := exec.Command("sleep", "4324")
	if err := l.Start(lab.Router, cmd); err != nil {
		t.Fatal(err)
	}
	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a program that was killed ended well")
		}
	case <-time.After(10 * time.Second):
		t.Error("the program outlived its host")
	}
}

func TestOrphansAreReaped(t *testing.T) {
	l := sharedLab(t)
	labtest.Run(t, l, lab.Exit2, "sh", "-c", "(true &) ; (sh -c 'exit 3' &)")
	eventually(t, "no zombie is left", func() bool {
		states, err := l.Run(t.Context(), lab.Exit2, "ps", "-e", "-o", "stat=")
		return err == nil && !strings.Contains(string(states), "Z")
	})
}

func TestUnknownHostIsNamed(t *testing.T) {
	l := sharedLab(t)
	for what, err := range map[string]error{
		"Command": l.Command(t.Context(), "nowhere", "true").Run(),
		"Start":   l.Start("nowhere", exec.Command("true")),
		"Write":   l.WriteFile("nowhere", "/etc/x", nil, 0o600),
	} {
		if err == nil || !strings.Contains(err.Error(), `no host "nowhere"`) || !strings.Contains(err.Error(), "client2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := l.ReadFile("nowhere", "/etc/x"); err == nil {
		t.Error("a file of an unknown host was read")
	}
	if _, err := l.Run(t.Context(), lab.Client, "no-such-program"); err == nil {
		t.Error("a program that does not exist ran")
	}
}

func TestEnteringHostsLeavesThisProcessWhereItWas(t *testing.T) {
	l := sharedLab(t)
	where := func() (out []string) {
		for _, kind := range []string{"net", "mnt", "uts", "ipc", "pid_for_children"} {
			links, _ := filepath.Glob("/proc/self/task/*/ns/" + kind)
			for _, link := range append(links, "/proc/self/ns/"+kind) {
				if to, err := os.Readlink(link); err == nil {
					out = append(out, to)
				}
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	before := where()
	var all sync.WaitGroup
	for range 50 { // enough to meet the process's first thread
		all.Go(func() {
			if _, err := l.ReadFile(lab.Router, "/etc/hostname"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	eventually(t, "no thread is left in a host", func() bool { return slices.Equal(where(), before) })
}

func TestInsideIsTheHostsAndCablesCanBeAdded(t *testing.T) {
	l := sharedLab(t)
	if err := l.AddCable(lab.Client, "more0", lab.Exit2, "more1"); err != nil {
		t.Fatal(err)
	}
	for host, device := range map[string]string{lab.Client: "more0", lab.Exit2: "more1"} {
		err := l.Inside(host, func() error {
			if _, err := net.InterfaceByName(device); err != nil {
				return err
			}
			name, err := os.ReadFile("/etc/hostname")
			if err == nil && string(name) != host+"\n" {
				err = fmt.Errorf("its file says %q", name)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := net.InterfaceByName(device); err == nil {
			t.Errorf("%s is seen on the machine", device)
		}
	}
	labtest.Run(t, l, lab.Client, "ip", "link", "del", "more0")
	if err := l.AddCable(lab.Client, "x", "nobody", "y"); err == nil {
		t.Error("a cable to nobody was laid")
	}
	if err := l.Inside("nobody", func() error { return nil }); err == nil {
		t.Error("nobody's inside was entered")
	}
}
