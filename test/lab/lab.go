package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Firewall is what filters and translates on the router.
type Firewall string

// The values of Firewall.
const (
	NFT            Firewall = "nft"             // as OpenWrt's fw4 generates it
	IPTables       Firewall = "iptables"        // as OpenWrt's fw3 does, iptables over nf_tables
	IPTablesLegacy Firewall = "iptables-legacy" // the same over ip_tables and ip6_tables
)

// Firewalls are all that a router may have.
func Firewalls() []Firewall { return []Firewall{NFT, IPTables, IPTablesLegacy} }

// DNS is which resolver the router's dnsmasq asks.
type DNS string

// The values of DNS.
const (
	PublicDNS DNS = "public" // the public resolver, 22.8.8.8, 2d00:8::8
	ISPDNS    DNS = "isp"    // the provider's, 22.100.0.53, 2d00:100::53
)

// Options say what lab to raise. The zero value is a good lab.
type Options struct {
	// Name tells labs apart; "" is a name of its own that no other lab has.
	Name     string   `json:"name"`
	Firewall Firewall `json:"firewall"` // "" is NFT
	DNS      DNS      `json:"dns"`      // "" is PublicDNS
	// Exit2NoIPv6 gives exit2 a tunnel that carries IPv4 only.
	Exit2NoIPv6 bool `json:"exit2_no_ipv6"`
	// Detach lets the lab outlive this process; it is ended with Down, in
	// this process or another (Open). Without it the lab ends with this
	// process, however that dies.
	Detach bool `json:"detach"`
	// Program is the path of rdlab; "" builds it into build/ of the module.
	Program string `json:"-"`
	// Progress gets one line a step; nil is silence.
	Progress io.Writer `json:"-"`
}

// Lab is a lab that runs. All methods but Down may be used from several
// goroutines at once.
type Lab struct {
	dir   string
	state state
	hosts map[string]*host // children of this process; nil after Open

	mu      sync.Mutex // guards started
	started []*os.Process
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.state.Options.Name }

// Program is the path of rdlab, whose command "client" makes traffic.
func (l *Lab) Program() string { return l.state.Program }

// Options are those the lab was raised with.
func (l *Lab) Options() Options { return l.state.Options }

// Up raises a lab and returns when everything in it answers. When it fails or
// ctx ends before, nothing is left behind. End the lab with Down.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := checkMachine(); err != nil {
		return nil, err
	}
	program, err := programPath(ctx, o)
	if err != nil {
		return nil, err
	}
	dir := stateDir()
	if err := claim(dir, o.Name); err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, hosts: map[string]*host{}, state: state{
		ID: rand.Text(), Attached: !o.Detach, Program: program, Options: o, Hosts: map[string]process{},
	}}
	if err := l.raise(ctx); err != nil {
		return nil, errors.Join(err, l.Down())
	}
	if o.Detach {
		l.letGo()
	}
	return l, nil
}

// Open attaches to a lab that another process raised.
func Open(name string) (*Lab, error) {
	dir := stateDir()
	s, err := readState(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no lab %q is up: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	return &Lab{dir: dir, state: s}, nil
}

// Down ends every process of the lab and so everything that it made; it returns
// when all are gone. Ending a lab twice is no error.
func (l *Lab) Down() error {
	var failed []error
	for name, p := range l.state.Hosts {
		if err := p.end(l.reapStarted); err != nil {
			failed = append(failed, fmt.Errorf("end host %s: %w", name, err))
		}
	}
	for _, h := range l.hosts {
		h.release()
	}
	l.hosts = nil
	s, err := readState(l.dir, l.Name())
	if err == nil && s.ID == l.state.ID {
		failed = append(failed, removeState(l.dir, l.Name()))
	}
	return errors.Join(failed...)
}

// reapStarted waits for programs that Start started and nobody waits for: the
// kernel does not let a PID namespace go while one of its processes is a
// zombie with a parent elsewhere.
func (l *Lab) reapStarted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.started {
		_ = p.Kill()
		_, _ = p.Wait()
	}
	l.started = nil
}

// complete fills in defaults and refuses what cannot be.
func (o *Options) complete() error {
	if o.Firewall == "" {
		o.Firewall = NFT
	}
	if !slices.Contains([]Firewall{NFT, IPTables, IPTablesLegacy}, o.Firewall) {
		return fmt.Errorf("firewall %q: use %s, %s or %s", o.Firewall, NFT, IPTables, IPTablesLegacy)
	}
	if o.DNS == "" {
		o.DNS = PublicDNS
	}
	if o.DNS != PublicDNS && o.DNS != ISPDNS {
		return fmt.Errorf("dns %q: use %s or %s", o.DNS, PublicDNS, ISPDNS)
	}
	if o.Name == "" {
		o.Name = "auto-" + strings.ToLower(rand.Text()[:8])
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`).MatchString(o.Name) {
		return fmt.Errorf("name %q: use up to 32 of a-z, 0-9, - and _, a letter or digit first", o.Name)
	}
	return nil
}

// claim refuses a name that is in use. A state file whose processes have all ended (a reboot with a lasting /run) is removed.
func claim(dir, name string) error {
	s, err := readState(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range s.Hosts {
		if p.alive() {
			return fmt.Errorf("lab %q is already up: end it with `scripts/lab down --name %s` or choose another --name", name, name)
		}
	}
	if err := os.Remove(filepath.Join(dir, stateFile(name))); err != nil {
		return fmt.Errorf("remove stale state file: %w", err)
	}
	return nil
}

// raise does the steps of Up that leave something to take down.
func (l *Lab) raise(ctx context.Context) error {
	begin := time.Now()
	for _, step := range l.steps() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("raise lab %s: %w", l.Name(), err)
		}
		l.say("%5.1fs  %s", time.Since(begin).Seconds(), step.title)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	if err := writeState(l.dir, l.Name(), l.state); err != nil {
		return err
	}
	l.say("%5.1fs  ready", time.Since(begin).Seconds())
	return nil
}

type step struct {
	title string
	do    func(context.Context) error
}

func (l *Lab) steps() []step {
	return []step{
		{"making hosts: " + strings.Join(Hosts(), ", "), l.makeHosts},
		{"laying cables", l.connectHosts},
		{"loading firewalls and counters", l.raiseFirewalls},
		{"making names and certificates, starting servers", l.raiseServers},
		{"checking from " + Client + " over IPv4 and IPv6", l.check},
	}
}

func (l *Lab) say(format string, args ...any) {
	if w := l.state.Options.Progress; w != nil {
		fmt.Fprintf(w, format+"\n", args...)
	}
}

// makeHosts starts every holder at once and waits for all.
func (l *Lab) makeHosts(context.Context) error {
	for _, name := range Hosts() {
		h, err := spawn(l.state.Program, HoldOptions{Lab: l.Name(), Host: name, ID: l.state.ID, StateDir: l.dir})
		if err != nil {
			return err
		}
		l.hosts[name] = h
		p, err := processOf(h.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("start host %s: %w", name, err)
		}
		l.state.Hosts[name] = p
	}
	for _, h := range l.hosts {
		if err := h.ready(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) connectHosts(context.Context) error {
	pids := map[string]int{}
	for name, p := range l.state.Hosts {
		pids[name] = p.PID
	}
	if err := connect(pids); err != nil {
		return err
	}
	for _, name := range Hosts() {
		if err := l.writeBasics(name); err != nil {
			return err
		}
	}
	return nil
}

// writeBasics writes what every host has in /etc.
func (l *Lab) writeBasics(name string) error {
	hosts := fmt.Sprintf("127.0.0.1 localhost %s\n::1 localhost\n", name)
	if err := l.WriteFile(name, "/etc/hosts", []byte(hosts), 0o644); err != nil {
		return err
	}
	if err := l.WriteFile(name, "/etc/hostname", []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	return l.WriteFile(name, "/etc/resolv.conf", []byte("nameserver "+nameserver(name)+"\n"), 0o644)
}

// letGo closes the pipes to the holders of a detached lab; they find their
// state file and stay.
func (l *Lab) letGo() {
	for _, h := range l.hosts {
		_ = h.in.Close()
		_ = h.cmd.Process.Release()
	}
	l.hosts = nil
}
