package router

import (
	"fmt"
	"syscall"
	"testing"
)

// TestFlowOffloadPays measures downloads with option flow_offload on and off: over
// the WAN, against plain forwarding, and through the tunnel's WireGuard, which is most
// of the work there. It fails only where the option has no effect at all.
func TestFlowOffloadPays(t *testing.T) {
	w := newWorld(t)
	tunnel := w.raiseExit()
	w.settings(tunnel)
	t.Cleanup(func() {
		w.end(syscall.SIGKILL)
		_ = w.inRouter("cleanup")
	})
	plain := w.throughput()
	w.start()
	on, err := w.status()
	w.must(err)
	name := fmt.Sprintf(listed, 2)
	_, err = w.lookUp(name)
	w.must(err)
	w.staysSmall() // once it has looked names up
	fast, fastSteered := w.throughput(), w.downloads(addressOf(name))
	w.slow = true
	w.settings(tunnel)
	w.must(w.inRouter("reload"))
	off, err := w.status()
	w.must(err)
	if off.DataPlane.FlowOffload == on.DataPlane.FlowOffload {
		t.Skipf("flow offload is %q, on or off", on.DataPlane.FlowOffload)
	}
	w.staysSmall()
	slow, slowSteered := w.throughput(), w.downloads(addressOf(name))
	t.Logf("plain forwarding %.1f MB/s; not steered: with flow offload %.1f (%.2f), without %.1f (%.2f)",
		median(plain)/1e6, median(fast)/1e6, median(fast)/median(plain), median(slow)/1e6, median(slow)/median(plain))
	t.Logf("steered: with flow offload %.1f MB/s, without %.1f (%.2f)",
		median(fastSteered)/1e6, median(slowSteered)/1e6, median(fastSteered)/median(slowSteered))
}
