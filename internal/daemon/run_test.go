package daemon

import (
	"context"
	"strings"
	"testing"
)

func TestRunSteersAndLeavesTheKernelForTheNext(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	r.wait("the tunnel is taken", func() bool { return r.path("exchanges") == "other" })
	s := r.status()
	if !s.Running || s.DataPlane.Names != 1 || len(s.DataPlane.Devices) != 1 || s.DataPlane.Devices[0] != "br-lan" {
		t.Errorf("status: %+v", s)
	}
	why, err := r.client().Why(context.Background(), "5.5.5.7", "")
	if err != nil || why.Destination != "exchanges" || why.Path != "other" || why.Device != "tun0" {
		t.Errorf("why: %+v, %v", why, err)
	}
	rules := r.rules()
	if strings.Count(rules, "fwmark") < 3 {
		t.Errorf("rules:\n%s", rules)
	}
	r.halt()
	if after := r.rules(); after != rules {
		t.Errorf("the end of the daemon changed the rules:\n%s\n%s", rules, after)
	}
	r.start()
	r.wait("the next daemon takes over", func() bool { return r.path("exchanges") == "other" })
	if after := r.rules(); after != rules {
		t.Errorf("the next daemon changed the rules:\n%s\n%s", rules, after)
	}
}
