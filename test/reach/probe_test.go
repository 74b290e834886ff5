package reach_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
)

// order is what the tests ask of the program inside the router, a line each.
type order struct {
	Checks []check
	Times  reach.Times // the zero value: the router's own
	Rounds int         // of all checks; 0 is one
}

// check is one target.
type check struct {
	Target, Large string
}

// report is a line of the answer: one for each check of each round.
type report struct {
	Target   string
	Verdict  reach.Verdict
	Sentence string
	Results  []reach.Result
	Err      string
	Last     bool
}

// of gives the result over a path.
func (r report) of(path string) reach.Result {
	for _, x := range r.Results {
		if x.Path == path {
			return x
		}
	}
	return reach.Result{}
}

// paths are those of the settings that the tests give the daemon.
func paths() []reach.Path {
	return []reach.Path{
		{Name: "direct", Index: owned.PathDirect, Direct: true},
		{Name: "home", Index: owned.PathTunnel0},
		{Name: "other", Index: owned.PathTunnel0 + 1},
	}
}

// dial opens sockets that leave by a path's mark, as the daemon's do.
func dial(ctx context.Context, path dns.Path, network, address string) (net.Conn, error) {
	return dns.MarkDialer(owned.DefaultMask.Mark(path)).DialContext(ctx, network, address)
}

// probe is the program inside the router.
func probe() int {
	upstream, err := dns.ParseUpstream("https://" + lab.ResolverName + "#" + lab.Resolver4)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		resolver := dns.New(dns.Options{Dial: dial, Upstreams: []dns.Upstream{upstream}})
		for range max(1, o.Rounds) {
			obey(resolver, o, out)
		}
		resolver.Close()
		_ = out.Encode(report{Last: true})
	}
	return 0
}

func obey(resolver *dns.Resolver, o order, out *json.Encoder) {
	runner := reach.NewRunner(reach.RunnerOptions{Prober: reach.NewProber(reach.ProberOptions{
		Dial: dial, Resolver: resolver, Times: o.Times,
		Provider: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(lab.ISPResolver4 + ":53")} },
	})})
	runner.Set(nil, paths())
	runner.SetControls(targets("https://www.news.example/", "https://bank.example/", "http://video.example/", "http://www.shopping.example/"))
	var specs []reach.Spec
	for _, c := range o.Checks {
		specs = append(specs, reach.Spec{Destination: "test", Target: targets(c.Target)[0], Large: c.Large})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	states, err := runner.CheckNow(ctx, specs, nil)
	if err != nil {
		_ = out.Encode(report{Err: err.Error()})
	}
	for _, s := range states {
		_ = out.Encode(report{Target: s.Spec.Target.String(), Verdict: s.Verdict.Verdict, Sentence: s.Verdict.Sentence, Results: s.Results})
	}
}

// targets parses; what does not parse is no target, and fails its test.
func targets(texts ...string) []catalogue.Target {
	out := make([]catalogue.Target, len(texts))
	for i, text := range texts {
		out[i], _ = catalogue.ParseTarget(text)
	}
	return out
}
