package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
	"github.com/routerd/routerd/test/lab/labtest"
)

// troubled is the lab of the tests that interfere, raised by the first.
var troubled = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.Up(context.Background(), lab.Options{Name: "troubled"})
})

// troubledLab raises that lab, and makes sure that the test leaves no trace of
// what it did.
func troubledLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := troubled()
	if err != nil {
		t.Fatal(err)
	}
	before := traces(t, l)
	t.Cleanup(func() {
		if err := l.ClearInterference(context.Background()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, traces(t, l)); diff != "" {
			t.Errorf("interference left a trace (-before +after):\n%s", diff)
		}
	})
	return l
}

// traces is what interference could leave behind on the hosts that do it.
func traces(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	out := map[string]string{}
	commands := []string{
		"nft --terse --stateless list ruleset", "ip rule", "ip -6 rule", "ip address", "ip route show table all", "ip -6 route show table all",
		"tc qdisc", "for d in $(ls /sys/class/net); do tc class show dev $d; done", "sysctl net.netfilter.nf_conntrack_acct",
		"ss -Hlntu", "ls -A /run/lab", "cat /proc/net/netfilter/nfnetlink_queue",
	}
	for _, host := range []string{lab.ISP, lab.Net} {
		raw, err := l.Run(context.Background(), host, "sh", "-ec", strings.Join(commands, "; echo ==; "))
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(raw), "==\n") {
			out[host+": "+commands[i]] = part
		}
	}
	return out
}

// begin begins an interference that ends with the test at the latest.
func begin(t *testing.T, l *lab.Lab, x lab.Interference) (undo func()) {
	t.Helper()
	end, err := l.Interfere(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// curl's exit statuses.
const (
	curlOK         = 0
	curlNoConnect  = 7
	curlTimeout    = 28
	curlTLS        = 35
	curlReset      = 56
	curlUntrusted  = 60
	curlIncomplete = 18
)

// visit opens a page with curl from client over one family. It gives curl's exit
// status, and the page with its head.
func visit(t *testing.T, l *lab.Lab, family int, seconds, url string, options ...string) (int, string) {
	t.Helper()
	out, err := l.Run(t.Context(), lab.Client, "curl", append(options, "-sSi", fmt.Sprintf("-%d", family), "--http1.1", "--max-time", seconds, url)...)
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode(), string(out) + err.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return curlOK, string(out)
}

// trouble is what an interference looks like for a client that opens a page.
type trouble struct {
	x      lab.Interference
	url    string // "" is https://www.okx.com/
	status int    // of curl
	text   string // in what comes
	spares string // another page, which opens; "" is https://www.binance.com/
}

func troubles() []trouble {
	okx := []string{"okx.com"}
	const shared = "https://" + lab.SharedUnlisted + "/"
	return []trouble{
		{x: lab.Interference{Kind: interfere.TCPDrop, Names: okx}, status: curlTimeout},
		{x: lab.Interference{Kind: interfere.TCPDrop, Names: okx, Direction: interfere.In}, status: curlTimeout},
		{x: lab.Interference{Kind: interfere.TCPDrop, Names: okx, Ports: []uint16{443}}, status: curlTimeout, spares: "http://www.okx.com/"},
		{x: lab.Interference{Kind: interfere.TCPReset, Names: okx}, status: curlNoConnect},
		{x: lab.Interference{Kind: interfere.TCPReset, Names: okx, On: interfere.OnData}, status: curlTLS},
		{x: lab.Interference{Kind: interfere.Unreachable, Names: okx}, status: curlNoConnect},
		{x: lab.Interference{Kind: interfere.Drop, Names: okx}, status: curlTimeout},
		{x: lab.Interference{Kind: interfere.TLSReset, Names: okx}, status: curlTLS, spares: shared},
		{x: lab.Interference{Kind: interfere.TLSDrop, Names: okx}, status: curlTimeout, spares: shared},
		{x: lab.Interference{Kind: interfere.TLSCert, Names: okx}, status: curlUntrusted, spares: shared},
		{x: lab.Interference{Kind: interfere.HTTPReset, Names: okx}, url: "http://www.okx.com/", status: curlReset, spares: "http://" + lab.SharedUnlisted + "/"},
		{x: lab.Interference{Kind: interfere.HTTPBlockPage, Names: okx}, url: "http://www.okx.com/", text: "Location: http://" + lab.BlockPageName + "/", spares: "http://" + lab.SharedUnlisted + "/"},
		{x: lab.Interference{Kind: interfere.HTTPBlockPage, Names: okx, Answer: interfere.AnswerPage}, url: "http://www.okx.com/", text: interfere.BlockPageText},
		{x: lab.Interference{Kind: interfere.Freeze, Names: okx}, url: "https://www.okx.com/bytes/65536", status: curlTimeout, text: "200 OK", spares: "https://www.okx.com/bytes/4096"},
		{x: lab.Interference{Kind: interfere.ServiceDown, Names: okx}, status: curlNoConnect},
		{x: lab.Interference{Kind: interfere.ServiceDown, Names: okx, Silent: true}, status: curlTimeout},
	}
}

func TestEachInterferenceIsSeenOverItsFamiliesAndUndone(t *testing.T) {
	l := troubledLab(t)
	for _, x := range troubles() {
		for _, family := range []int{0, 4, 6} {
			x.x.Family = family
			t.Run(strings.ReplaceAll(x.x.String(), " ", "_"), func(t *testing.T) { x.check(t, l) })
		}
	}
}

// check has both families' clients look before, meanwhile and afterwards.
func (x trouble) check(t *testing.T, l *lab.Lab) {
	if x.url == "" {
		x.url = "https://www.okx.com/"
	}
	if x.spares == "" {
		x.spares = "https://www.binance.com/"
	}
	before := traces(t, l)
	undo := begin(t, l, x.x)
	x.see(t, l)
	if all, err := l.Interferences(t.Context()); err != nil || len(all) != 1 || all[0].Hits == 0 {
		t.Errorf("the list is %+v, %v", all, err)
	}
	undo()
	undo()
	for _, family := range []int{4, 6} {
		if status, page := visit(t, l, family, "10", x.url); status != curlOK || strings.Contains(page, interfere.BlockPageText) {
			t.Errorf("afterwards over IPv%d curl ends %d: %s", family, status, page)
		}
	}
	if diff := cmp.Diff(before, traces(t, l)); diff != "" {
		t.Errorf("undone, it left (-before +after):\n%s", diff)
	}
}

// see checks that the target shows the trouble over the families concerned, and
// everything else opens.
func (x trouble) see(t *testing.T, l *lab.Lab) {
	var both sync.WaitGroup
	defer both.Wait()
	for _, family := range []int{4, 6} {
		both.Go(func() {
			if status, page := visit(t, l, family, "10", x.spares); status != curlOK || !strings.Contains(page, " 200 ") {
				t.Errorf("over IPv%d %s, not meant, ends %d: %s", family, x.spares, status, page)
			}
			want, text, seconds := x.status, x.text, "10"
			if x.x.Family != 0 && x.x.Family != family {
				want, text = curlOK, " 200 "
			}
			if want == curlTimeout {
				seconds = "1"
			}
			status, page := visit(t, l, family, seconds, x.url)
			if status != want || !strings.Contains(page, text) {
				t.Errorf("over IPv%d curl ends %d, want %d with %q: %s", family, status, want, text, page)
			}
		})
	}
}

func TestServiceAnswersItsStatusOverEveryPath(t *testing.T) {
	l := troubledLab(t)
	for _, status := range interfere.Statuses() {
		undo := begin(t, l, lab.Interference{Kind: interfere.ServiceStatus, Names: []string{"okx.com"}, Status: status})
		for _, url := range []string{"https://www.okx.com/", "http://okx.com/", "https://api.okx.com/bytes/1024"} {
			for _, host := range []string{lab.Client, lab.Exit} {
				got := labtest.Run(t, l, host, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--resolve",
					"*:443:"+names(t)["www.okx.com"].A[0].String(), url)
				if got != fmt.Sprint(status) {
					t.Errorf("%s on %s answers %s, want %d", url, host, got, status)
				}
			}
		}
		undo()
	}
	if _, page := visit(t, l, 4, "10", "https://www.okx.com/"); !strings.Contains(page, " 200 OK") {
		t.Error(page)
	}
}

func TestPoolThatSharesItsWebPortAnswersItsStatus(t *testing.T) {
	l := troubledLab(t)
	name, _, _ := strings.Cut(pools(t, names(t))["web"], ":")
	begin(t, l, lab.Interference{Kind: interfere.ServiceStatus, Names: []string{name}, Status: 403})
	if _, page := visit(t, l, 6, "10", "https://"+name+"/"); !strings.Contains(page, " 403 ") {
		t.Error(page)
	}
}

func TestMinersMeetInterference(t *testing.T) {
	l := troubledLab(t)
	target := pools(t, names(t))["own"]
	name, _, _ := strings.Cut(target, ":")
	mine := func(options ...string) string {
		out, _ := l.Run(t.Context(), lab.Client, l.Program(), append([]string{"client", "stratum", target, "--for", "1s"}, options...)...)
		return string(out)
	}
	for _, x := range []struct {
		x       lab.Interference
		options []string
		want    string
	}{
		{lab.Interference{Kind: interfere.TCPReset, Names: []string{name}, On: interfere.OnData}, nil, "reset by peer"},
		{lab.Interference{Kind: interfere.TCPReset, Names: []string{name}}, nil, "refused"},
		{lab.Interference{Kind: interfere.ServiceReject, Names: []string{name}}, nil, "refuses request"},
		{lab.Interference{Kind: interfere.TLSReset, Names: []string{name}}, []string{"--tls"}, "reset by peer"},
		{lab.Interference{Kind: interfere.TLSCert, Names: []string{name}, Ports: ports(t, target)}, []string{"--tls"}, "certificate"},
		{lab.Interference{Kind: interfere.Freeze, Names: []string{name}, Bytes: 1}, nil, `"subscribed":false`},
	} {
		for _, family := range []string{"4", "6"} {
			undo := begin(t, l, x.x)
			options := append([]string{"--family", family}, x.options...)
			if got := mine(options...); !strings.Contains(got, x.want) {
				t.Errorf("%s: over IPv%s %s", x.x, family, got)
			}
			undo()
			if got := mine(options...); !strings.Contains(got, `"subscribed":true`) {
				t.Errorf("%s, undone: over IPv%s %s", x.x, family, got)
			}
		}
	}
}

func ports(t *testing.T, target string) []uint16 {
	t.Helper()
	_, after, _ := strings.Cut(target, ":")
	p, err := netip.ParseAddrPort("0.0.0.0:" + after)
	if err != nil {
		t.Fatal(err)
	}
	return []uint16{p.Port()}
}
