package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/miekg/dns"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/lab"
)

// measureReload compares how routerd takes lists of names with how dnsmasq does whose
// names fill an nftables set, and measures how long clients wait when a tunnel dies.
func measureReload(ctx context.Context, r *run) (rows []Row, err error) {
	s, err := r.newSubject(ctx, "routerd and dnsmasq")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.down(context.WithoutCancel(ctx))) }()
	if err := s.useSet(ctx, few); err != nil {
		return nil, err
	}
	for _, n := range []int{few, 10_000, most} {
		more, err := s.lists(ctx, n)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	wait, err := s.failOver(ctx)
	return append(rows, wait), err
}

// taken is what it costs to take a list.
type taken struct {
	start, reload time.Duration
	resident      float64 // megabytes
	kernel        float64 // megabytes of maps
}

// lists measures lists of n names.
func (s *subject) lists(ctx context.Context, n int) ([]Row, error) {
	names := plural(n, "name")
	rows := []Row{
		{What: "start with " + names, Unit: "ms"},
		{What: "reload, one of " + names + " changed", Unit: "ms"},
		{What: "memory with " + names, Unit: "MB"},
		{What: "memory with " + names + ", the kernel's maps included", Unit: "MB"},
	}
	for i := range rows {
		rows[i].Base, rows[i].Ours = "dnsmasq", "routerd"
	}
	one := func(take func(context.Context, int) (taken, error), into func(*Row) *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			t, err := take(ctx, n)
			for i, v := range []float64{ms(t.start), ms(t.reload), t.resident, t.resident + t.kernel} {
				*into(&rows[i]) = append(*into(&rows[i]), v)
			}
			return err
		}
	}
	return rows, s.turns(ctx, "lists of "+names, [2]func(context.Context) error{
		one(s.takeByDnsmasq, func(row *Row) *[]float64 { return &row.Theirs }),
		one(s.takeByRouterd, func(row *Row) *[]float64 { return &row.Got }),
	})
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// takeByRouterd starts routerd, changes a name of its list, and ends it again. It is
// ready when its tunnel is up: then all is in the kernel.
func (s *subject) takeByRouterd(ctx context.Context, n int) (out taken, err error) {
	list := names(n - 1)
	if err := s.lab.WriteFile(lab.Router, listFile, list, 0o600); err != nil {
		return out, err
	}
	begin := time.Now()
	if s.daemon, err = s.startUntil(ctx, fmt.Sprintf(steering, usualAddresses), func() bool {
		return s.tunnels(func(t control.TunnelStatus) bool { return t.State == "up" }) == 1
	}); err != nil {
		return out, err
	}
	out.start = time.Since(begin)
	defer func() {
		err = errors.Join(err, s.stopDaemon(context.WithoutCancel(ctx), s.daemon))
		s.daemon = nil
	}()
	if err := s.lab.WriteFile(lab.Router, listFile, append(list, "changed.example\n"...), 0o600); err != nil {
		return out, err
	}
	begin = time.Now()
	if _, err := s.lab.Run(ctx, lab.Router, s.Program, "reload"); err != nil {
		return out, err
	}
	out.reload = time.Since(begin)
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.daemon.cmd.Process.Pid), "status"))
	if err != nil {
		return out, fmt.Errorf("read memory of routerd: %w", err)
	}
	if out.resident, err = parseResident(string(status)); err != nil {
		return out, err
	}
	out.kernel, err = s.mapsMemory()
	return out, err
}

// tunnels asks routerd for its tunnels, and gives those that are as they should be.
func (r *run) tunnels(ok func(control.TunnelStatus) bool) int {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (c net.Conn, err error) {
			err = r.lab.Inside(lab.Router, func() error {
				c, err = net.Dial("unix", owned.Socket)
				return err
			})
			return c, err
		},
	}}
	resp, err := client.Get("http://routerd/v1/status")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var status control.Status
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return 0
	}
	n := 0
	for _, t := range status.Tunnels {
		if ok(t) {
			n++
		}
	}
	return n
}

// mapsMemory is what routerd's maps take of the kernel's memory, in megabytes.
func (r *run) mapsMemory() (float64, error) {
	var pins *os.File
	err := r.lab.Inside(lab.Router, func() (err error) {
		pins, err = os.Open(owned.BPFDir)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer pins.Close()
	all, err := pins.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("list pins: %w", err)
	}
	var sum uint64
	for _, name := range all {
		m, err := ebpf.LoadPinnedMap(fmt.Sprintf("/proc/self/fd/%d/%s", pins.Fd(), name), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			continue // a link
		}
		sum += memlock(m)
		m.Close()
	}
	return float64(sum) / 1e6, nil
}

// memlock is what a map takes, and the one inside it where it holds one.
func memlock(m *ebpf.Map) uint64 {
	info, err := m.Info()
	if err != nil {
		return 0
	}
	size, _ := info.Memlock()
	var id ebpf.MapID
	if m.Type() != ebpf.ArrayOfMaps || m.Lookup(uint32(0), &id) != nil {
		return size
	}
	inner, err := ebpf.NewMapFromID(id)
	if err != nil {
		return size
	}
	defer inner.Close()
	return size + memlock(inner)
}

// dnsmasqFile and dnsmasqPort are of the dnsmasq that is measured: not the router's
// own.
const (
	dnsmasqFile = "/run/bench-dnsmasq.conf"
	dnsmasqPort = 5300
	readyName   = "ready.example"
)

// dnsmasqSettings put the addresses of names into the set.
func dnsmasqSettings(list []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "port=%d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\naddress=/%s/192.0.2.1\n", dnsmasqPort, readyName)
	for name := range strings.Lines(string(list)) {
		fmt.Fprintf(&b, "nftset=/%s/4#inet#bench#listed\n", strings.TrimSpace(name))
	}
	return []byte(b.String())
}

// takeByDnsmasq does the same with dnsmasq, which reads its settings at a start only.
func (s *subject) takeByDnsmasq(ctx context.Context, n int) (out taken, err error) {
	list := names(n)
	for _, into := range []*time.Duration{&out.start, &out.reload} {
		if err := s.lab.WriteFile(lab.Router, dnsmasqFile, dnsmasqSettings(list), 0o600); err != nil {
			return out, err
		}
		list = append(names(n-1), "changed.example\n"...)
		begin := time.Now()
		cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file="+dnsmasqFile, "--pid-file")
		if err := s.lab.Start(lab.Router, cmd); err != nil {
			return out, err
		}
		err := poll(ctx, s.dnsmasqAnswers)
		*into = time.Since(begin)
		if status, e := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status")); err == nil {
			if out.resident, err = parseResident(string(status)); e != nil {
				err = e
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err != nil {
			return out, fmt.Errorf("start dnsmasq: %w", err)
		}
	}
	return out, nil
}

// dnsmasqAnswers asks it once.
func (s *subject) dnsmasqAnswers() bool {
	var c net.Conn
	err := s.lab.Inside(lab.Router, func() (err error) {
		c, err = net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", dnsmasqPort))
		return err
	})
	if err != nil {
		return false
	}
	defer c.Close()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(readyName), dns.TypeA)
	conn := &dns.Conn{Conn: c}
	if err := errors.Join(c.SetDeadline(time.Now().Add(time.Second)), conn.WriteMsg(m)); err != nil {
		return false
	}
	reply, err := conn.ReadMsg()
	return err == nil && len(reply.Answer) == 1
}
