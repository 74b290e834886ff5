package daemon

import (
	"context"
	"slices"
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
	expect(t, s.Running && s.DataPlane.Names == 1 && slices.Equal(s.DataPlane.Devices, []string{"br-lan"}), "status: %+v", s)
	why, err := r.client().Why(context.Background(), "5.5.5.7", "")
	need(t, err)
	expect(t, why.Destination == "exchanges" && why.Path == "other" && why.Device == "tun0", "why: %+v", why)
	rules := r.rules()
	expect(t, strings.Count(rules, "fwmark") >= 3, "rules:\n%s", rules)
	r.halt()
	expect(t, r.rules() == rules, "the end of the daemon changed the rules:\n%s\n%s", rules, r.rules())
	r.start()
	r.wait("the next daemon takes over", func() bool { return r.path("exchanges") == "other" })
	expect(t, r.rules() == rules, "the next daemon changed the rules:\n%s\n%s", rules, r.rules())
}
