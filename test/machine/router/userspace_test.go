package router

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// userspaceMost is what the daemon and the process of its only tunnel may have in
// memory, KiB, where the kernel has no WireGuard and the tunnel carries what it can.
const userspaceMost = 28 << 10

// TestUserspaceTunnelStaysSmall downloads through a tunnel in userspace as fast as
// that goes, and looks at the memory that this takes, once the daemon has let go of what
// only its start has used.
func TestUserspaceTunnelStaysSmall(t *testing.T) {
	w := newWorld(t)
	w.settings(strings.Replace(w.raiseExit(), "config tunnel 'home'", "config tunnel 'home'\n\toption backend 'userspace'", 1))
	t.Cleanup(func() {
		w.end(syscall.SIGKILL)
		_ = w.inRouter("cleanup")
	})
	w.start()
	w.letsGo()
	name := fmt.Sprintf(listed, 2)
	_, err := w.lookUp(name)
	w.must(err)
	pid := w.daemon.Process.Pid
	process := w.child(pid)
	rates, most := []float64{}, 0
	for range 3 {
		rates = append(rates, w.downloads(addressOf(name))...)
		most = max(most, w.tellMemory(pid)+w.tellMemory(process))
	}
	t.Logf("figure userspace %d KiB, at %.1f MB/s", most, median(rates)/1e6)
	if most > userspaceMost {
		t.Errorf("the daemon and its tunnel have %d KiB in memory under load, at most %d are allowed", most, userspaceMost)
	}
	w.allGo(tunnelAddress, listed, 10, 20)
}

// child is the only process that another has begun (proc_pid_task(5)).
func (w *world) child(of int) int {
	w.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
	w.must(err)
	var all []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		w.must(err)
		for _, field := range strings.Fields(string(raw)) {
			var pid int
			_, err := fmt.Sscan(field, &pid)
			w.must(err)
			all = append(all, pid)
		}
	}
	if len(all) != 1 {
		w.Fatalf("the daemon has the processes %v, want one", all)
	}
	return all[0]
}
