package reach_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
)

// order is what the tests ask of the program inside the router.
type order struct {
	Checks []check
	Times  reach.Times // the zero value: the router's own
	Rounds int         // of all checks; 0 is one
	AtOnce int         // rounds at a time; 0 is one
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

// probe is the program inside the router. Each round has a runner of its own, as
// if routers were many: none profits from what another knows of the line.
func probe(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	upstream, err := dns.ParseUpstream("https://" + lab.ResolverName + "#" + lab.Resolver4)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	resolver := dns.New(dns.Options{Dial: dial, Upstreams: []dns.Upstream{upstream}})
	defer resolver.Close()
	out := &lines{to: json.NewEncoder(os.Stdout)}
	slots := make(chan struct{}, max(1, o.AtOnce))
	var all sync.WaitGroup
	for range max(1, o.Rounds) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			obey(resolver, o, out)
		})
	}
	all.Wait()
	return 0
}

// lines writes reports of many rounds, each whole.
type lines struct {
	mu sync.Mutex // guards to
	to *json.Encoder
}

func (l *lines) write(r report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.to.Encode(r)
}

func obey(resolver *dns.Resolver, o order, out *lines) {
	runner := reach.NewRunner(reach.RunnerOptions{Prober: reach.NewProber(reach.ProberOptions{
		Dial: dial, Resolver: resolver, Times: o.Times,
		Provider: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(lab.ISPResolver4 + ":53")} },
	})})
	runner.SetControls(targets("https://www.news.example/", "https://bank.example/", "http://video.example/", "http://www.shopping.example/"))
	var specs []reach.Spec
	for _, c := range o.Checks {
		specs = append(specs, reach.Spec{Destination: "test", Target: targets(c.Target)[0], Large: c.Large})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	states, err := runner.CheckNow(ctx, specs, paths(), nil)
	if err != nil {
		out.write(report{Err: err.Error()})
	}
	for _, s := range states {
		out.write(report{Target: s.Spec.Target.String(), Verdict: s.Verdict.Verdict, Sentence: s.Verdict.Sentence, Results: s.Results})
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
