package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

func TestRestartWaitsForTheNextDaemon(t *testing.T) {
	var asked atomic.Bool
	var answers atomic.Int64
	socket, _ := daemonWith(t, control.Handlers{
		Status: func(context.Context) (control.Status, error) {
			n := answers.Add(1)
			switch {
			case !asked.Load() || n < 4:
				return control.Status{Started: time.Unix(1, 0)}, nil
			case n < 6:
				return control.Status{}, errors.New("not yet")
			}
			return control.Status{Started: time.Unix(2, 0)}, nil
		},
		Restart: func(context.Context) error { asked.Store(true); return nil },
	})
	call(t, "", "restart", "--socket", socket).want(t, exitDone, "", "")
	if !asked.Load() || answers.Load() < 6 {
		t.Errorf("the daemon was asked to begin anew: %t; its state %d times", asked.Load(), answers.Load())
	}
}

func TestRestartWithoutADaemonSaysSo(t *testing.T) {
	call(t, "", "restart", "--socket", t.TempDir()+"/s").want(t, exitNotRunning, "", "routerd is not running")
}

func TestADaemonThatCannotBeginAnewSaysSo(t *testing.T) {
	socket, _ := daemonWith(t, control.Handlers{Status: func(context.Context) (control.Status, error) { return control.Status{}, nil }})
	call(t, "", "restart", "--socket", socket).want(t, exitFailed, "", "does not answer /v1/restart")
}

// Without the time at which the one that runs began, the next could not be told from
// it, and the restart would be taken for done.
func TestADaemonThatCannotBeAskedIsLeftAlone(t *testing.T) {
	var asked atomic.Bool
	socket, _ := daemonWith(t, control.Handlers{
		Status: func(context.Context) (control.Status, error) {
			if !asked.Load() {
				return control.Status{}, errors.New("out of sorts")
			}
			return control.Status{Started: time.Unix(1, 0)}, nil
		},
		Restart: func(context.Context) error { asked.Store(true); return nil },
	})
	call(t, "", "restart", "--socket", socket).want(t, exitFailed, "", "out of sorts")
	if asked.Load() {
		t.Error("it was asked to begin anew")
	}
}

func TestTheNextProcessHasTheSameArgumentsAndTheSocketsOfThisOne(t *testing.T) {
	for _, c := range []struct{ args, numbers, want string }{
		{"routerd run", "7 8", "routerd run --inherited=7,8"},
		{"routerd run --inherited=3,4", "7", "routerd run --inherited=7"},
		{"routerd run --inherited=3 --config x", "", "routerd run --config x"},
	} {
		got := strings.Join(withInherited(strings.Fields(c.args), strings.Fields(c.numbers)), " ")
		if got != c.want {
			t.Errorf("%s with sockets %s: %s, want %s", c.args, c.numbers, got, c.want)
		}
	}
}

// become is tried in a process of its own, which this test's program is then: it
// begins anew with a socket and answers on it.
func TestAProcessBecomesTheNextWithASocket(t *testing.T) {
	const name = "-test.run=^TestAProcessBecomesTheNextWithASocket$"
	args := os.Args
	if i := slices.Index(args, "first"); i >= 0 {
		fd := os.NewFile(3, "socket")
		if err := become(slices.Replace(slices.Clone(args), i, i+1, "second"), []*os.File{fd}); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(args, "second") {
		answerOn(t, args[len(args)-1])
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	// The connection waits in the socket until somebody accepts it.
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = ln.Close()
	cmd := exec.Command(os.Args[0], name, "first")
	cmd.ExtraFiles = []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); err != nil || string(got) != "next" {
		t.Errorf("the next process says %q, %v", got, err)
	}
}

// answerOn accepts a connection on the socket that an argument names.
func answerOn(t *testing.T, arg string) {
	t.Helper()
	if arg != "--inherited=3" {
		t.Fatalf("the last argument is %q", arg)
	}
	ln, err := net.FileListener(openFiles([]int{3})[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("next")); err != nil {
		t.Fatal(err)
	}
}
