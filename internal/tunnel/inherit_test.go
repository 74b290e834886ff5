package tunnel

import (
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that began in place of another, by exec, is the parent of the processes
// that that one started: they are reaped when they end.
func TestProcessesOfTheProgramBeforeAreReaped(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	specs := []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))}
	first := newTestManager(t, nil)
	_, err := first.Ensure(t.Context(), specs)
	must(t, err)
	pid, err := socketOwner("rd-home")
	must(t, err)
	first.children = nil // they are forgotten with the program
	first.Close()

	next := newTestManager(t, nil)
	_, err = next.Ensure(t.Context(), specs)
	must(t, err)
	if again, err := socketOwner("rd-home"); err != nil || again != pid {
		t.Fatalf("the process is %d, %v, was %d", again, err, pid)
	}
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, 10*time.Second, func() error {
		next.Refresh(t.Context())
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); !errors.Is(err, os.ErrNotExist) {
			return errors.New("the process that was killed is still to be reaped")
		}
		return nil
	})
}
