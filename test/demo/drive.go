package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/client"
)

// What clients do at the most, and how long.
const (
	curlSeconds   = 5
	stratumTime   = 2 * time.Second
	datagrams     = 10
	publicDNS4    = lab.Resolver4
	publicDNS6    = lab.Resolver6
	unlikelyReply = "the answer has no address of IPv%d"
)

// driver makes clients' traffic.
type driver struct {
	lab   *lab.Lab
	names map[string]lab.Name
}

// drive does what a case says. A client that is refused or gets no answer is an
// outcome; an error is only that it could not try.
func (d *driver) drive(ctx context.Context, c Case) (outcome, error) {
	begin := time.Now()
	o, err := d.use(ctx, c)
	o.took = time.Since(begin)
	if !o.address.IsValid() { // a refused client does not say what it tried
		o.address = d.knownAddress(c)
	}
	return o, err
}

func (d *driver) use(ctx context.Context, c Case) (outcome, error) {
	switch c.Method {
	case HTTPS:
		return d.curl(ctx, c, "https://"+c.Name+"/")
	case HTTP:
		a, err := netip.ParseAddr(c.Name)
		if err != nil {
			return outcome{}, fmt.Errorf("read case: %w", err)
		}
		return d.curl(ctx, c, "http://"+net.JoinHostPort(a.String(), "80")+"/")
	case Asked:
		return d.asked(ctx, c)
	case Hinted:
		return d.hinted(ctx, c)
	case Stratum:
		return d.stratum(ctx, c)
	case UDP:
		return d.udp(ctx, c)
	}
	return outcome{}, fmt.Errorf("no method %q", c.Method)
}

// knownAddress is the first address of a name in the lab's DNS.
func (d *driver) knownAddress(c Case) netip.Addr {
	n := d.names[c.Name]
	list := n.A
	if c.Family == 6 {
		list = n.AAAA
	}
	if len(list) == 0 {
		return netip.Addr{}
	}
	return list[0]
}

// curl opens a URL as an ordinary client: the system's resolver and the system's
// authorities, of which the lab's is one.
func (d *driver) curl(ctx context.Context, c Case, url string, more ...string) (outcome, error) {
	args := []string{
		"-sS", "-" + strconv.Itoa(c.Family), "--max-time", strconv.Itoa(curlSeconds),
		"--write-out", `remote %{remote_ip}\nstatus %{http_code}\n`,
	}
	out, failed, err := d.try(ctx, c.Client, "curl", append(append(args, more...), url)...)
	if err != nil {
		return outcome{}, err
	}
	o := parseCurl(string(out))
	if failed != "" {
		o.answered, o.detail = false, failed
	}
	return o, nil
}

// parseCurl reads the lab's page and what curl adds to it.
func parseCurl(out string) outcome {
	var o outcome
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "remote":
			o.address, _ = netip.ParseAddr(value)
		case "client":
			o.seenAs, _ = netip.ParseAddr(value)
		case "status":
			o.answered = value == "200"
			o.detail = "the server answers with status " + value
		}
	}
	return o
}

// try runs a client's program; one that ends with an error of its own says so
// in failed.
func (d *driver) try(ctx context.Context, host, program string, args ...string) (out []byte, failed string, err error) {
	out, err = d.lab.Run(ctx, host, program, args...)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case errors.As(err, &exit):
		_, words, _ := strings.Cut(err.Error(), exit.Error()+": ")
		if words == "" {
			words = err.Error()
		}
		return out, words, nil
	}
	return out, "", err
}

// asked looks the name up at a public resolver, in mixed case as resolvers do
// against forgery, and opens what it got.
func (d *driver) asked(ctx context.Context, c Case) (outcome, error) {
	kind, server := "A", publicDNS4
	if c.Family == 6 {
		kind, server = "AAAA", publicDNS6
	}
	out, failed, err := d.try(ctx, c.Client, "kdig", "@"+server, "+short", mixedCase(c.Name), kind)
	if err != nil || failed != "" {
		return outcome{detail: failed}, err
	}
	return d.curlTo(ctx, c, parseShort(string(out), c.Family))
}

// mixedCase changes the case of every other letter.
func mixedCase(name string) string {
	out := []byte(name)
	for i := 0; i < len(out); i += 2 {
		if 'a' <= out[i] && out[i] <= 'z' {
			out[i] -= 'a' - 'A'
		}
	}
	return string(out)
}

// parseShort is the first address of a family that kdig prints.
func parseShort(out string, family int) netip.Addr {
	for field := range strings.FieldsSeq(out) {
		if a, err := netip.ParseAddr(field); err == nil && a.Is4() == (family == 4) {
			return a
		}
	}
	return netip.Addr{}
}

// hinted opens the address that the name's HTTPS record hints at.
func (d *driver) hinted(ctx context.Context, c Case) (outcome, error) {
	out, failed, err := d.try(ctx, c.Client, "kdig", "+short", c.Name, "HTTPS")
	if err != nil || failed != "" {
		return outcome{detail: failed}, err
	}
	return d.curlTo(ctx, c, parseHint(string(out), c.Family))
}

// parseHint is the first hint of a family in an HTTPS record's text.
func parseHint(out string, family int) netip.Addr {
	key := fmt.Sprintf("ipv%dhint=", family)
	for field := range strings.FieldsSeq(out) {
		if list, ok := strings.CutPrefix(field, key); ok {
			first, _, _ := strings.Cut(list, ",")
			a, _ := netip.ParseAddr(first)
			return a
		}
	}
	return netip.Addr{}
}

// curlTo opens a name at an address that the client has already.
func (d *driver) curlTo(ctx context.Context, c Case, a netip.Addr) (outcome, error) {
	if !a.IsValid() {
		return outcome{detail: fmt.Sprintf(unlikelyReply, c.Family)}, nil
	}
	to := a.String()
	if a.Is6() {
		to = "[" + to + "]"
	}
	return d.curl(ctx, c, "https://"+c.Name+"/", "--resolve", c.Name+":443:"+to)
}

// rdlab runs the lab's own client and reads its result.
func (d *driver) rdlab(ctx context.Context, c Case, result any, command string, more ...string) (failed string, err error) {
	target := net.JoinHostPort(c.Name, strconv.Itoa(int(c.Port)))
	args := append([]string{"client", command, "--family", strconv.Itoa(c.Family), target}, more...)
	out, failed, err := d.try(ctx, c.Client, d.lab.Program(), args...)
	if err != nil || len(out) == 0 {
		return failed, err
	}
	if err := json.Unmarshal(out, result); err != nil {
		return "", fmt.Errorf("read result of %s: %w", command, err)
	}
	return failed, nil
}

func (d *driver) stratum(ctx context.Context, c Case) (outcome, error) {
	var r client.StratumResult
	failed, err := d.rdlab(ctx, c, &r, "stratum", "--for", stratumTime.String())
	o := outcome{answered: failed == "" && r.Authorized && r.Accepted > 0}
	o.address, _ = netip.ParseAddr(r.Address)
	o.detail = fmt.Sprintf("subscribed %t, authorised %t, %d jobs, %d shares accepted: %s%s",
		r.Subscribed, r.Authorized, r.Jobs, r.Accepted, r.Error, failed)
	return o, err
}

func (d *driver) udp(ctx context.Context, c Case) (outcome, error) {
	var r client.EchoResult
	failed, err := d.rdlab(ctx, c, &r, "udp-echo", "--count", strconv.Itoa(datagrams))
	o := outcome{answered: failed == "" && r.Received == datagrams}
	o.address, _ = netip.ParseAddr(r.Address)
	o.detail = fmt.Sprintf("%d of %d datagrams came back: %s%s", r.Received, datagrams, r.Error, failed)
	return o, err
}
