package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// request is what procctl asks procd.
type request struct {
	Do   string // set, delete, event, list
	Name string // of a service; of an event: config.change or interface
	Args []string
	Spec string // of set: lines as rc.common writes them
}

// procctlMain sends one request and waits until it has been carried out.
func procctlMain(args []string) error {
	if len(args) < 1 {
		return errors.New("procctl set|delete NAME, event KIND WORD …, list")
	}
	r := request{Do: args[0]}
	if len(args) > 1 {
		r.Name, r.Args = args[1], args[2:]
	}
	if r.Do == "set" {
		spec, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		r.Spec = string(spec)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

// spec is what a service says about itself.
type spec struct {
	command    []string
	env        []string
	respawn    time.Duration // 0: never
	configs    []string      // whose change reloads it
	interfaces []string
	other      []string // parameters that are only looked at
}

func parseSpec(text string) spec {
	var s spec
	for line := range strings.Lines(text) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		rest := words[1:]
		switch words[0] {
		case "command":
			s.command = rest
		case "env":
			s.env = rest
		case "respawn":
			if seconds, err := strconv.Atoi(rest[1]); err == nil {
				s.respawn = time.Duration(seconds) * time.Second
			}
		case "trigger":
			s.configs = append(s.configs, rest...)
		case "interface":
			s.interfaces = append(s.interfaces, rest...)
		default:
			s.other = append(s.other, strings.Join(words, " "))
		}
	}
	return s
}

// procd supervises services as OpenWrt's does: it starts a process anew when it
// ends, and leaves it alone when it is set anew to what it is.
type procd struct {
	log *os.File

	mu       sync.Mutex
	services map[string]*service // guarded by mu
}

type service struct {
	spec    spec
	cmd     *exec.Cmd
	deleted bool
}

// procdMain runs until it is killed.
func procdMain([]string) error {
	_ = os.Remove(socket)
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	log, err := os.OpenFile("/var/log/messages", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p := &procd{log: log, services: map[string]*service{}}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go p.serve(c) // ends with the request
	}
}

func (p *procd) serve(c net.Conn) {
	defer c.Close()
	line, err := bufio.NewReader(c).ReadBytes('\n')
	var r request
	if err != nil || json.Unmarshal(line, &r) != nil {
		return
	}
	switch r.Do {
	case "set":
		p.set(r.Name, parseSpec(r.Spec))
	case "delete":
		p.remove(r.Name)
	case "event":
		for _, name := range p.concerned(r) {
			out, err := exec.Command("/etc/init.d/"+name, "reload").CombinedOutput()
			fmt.Fprintf(p.log, "reload %s: %v %s\n", name, err, out)
		}
	case "list":
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, s := range p.services {
			fmt.Fprintf(c, "%s %d %v %v\n", name, s.cmd.Process.Pid, s.spec.command, s.spec.other)
		}
	}
}

func (p *procd) set(name string, want spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.services[name]; old != nil {
		same := slices.Equal(old.spec.command, want.command) && slices.Equal(old.spec.env, want.env)
		old.spec = want
		if same {
			return
		}
		p.end(old)
	}
	s := &service{spec: want}
	p.services[name] = s
	p.launch(s)
}

// launch starts a service's process; mu is held.
func (p *procd) launch(s *service) {
	s.cmd = exec.Command(s.spec.command[0], s.spec.command[1:]...)
	s.cmd.Env = append(os.Environ(), s.spec.env...)
	s.cmd.Stdout, s.cmd.Stderr = p.log, p.log
	if err := s.cmd.Start(); err != nil {
		fmt.Fprintln(p.log, "start:", err)
		return
	}
	go p.watch(s, s.cmd) // ends with the process
}

func (p *procd) watch(s *service, cmd *exec.Cmd) {
	err := cmd.Wait()
	fmt.Fprintf(p.log, "%v ended: %v\n", cmd.Args, err)
	p.mu.Lock()
	wait, over := s.spec.respawn, s.deleted
	p.mu.Unlock()
	if over || wait == 0 {
		return
	}
	time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !s.deleted {
			p.launch(s)
		}
	})
}

// end asks a process to end and does not wait; mu is held.
func (p *procd) end(s *service) {
	s.deleted = true
	if s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
}

func (p *procd) remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.services[name]; s != nil {
		p.end(s)
		delete(p.services, name)
	}
}

// concerned are the services that an event reloads.
func (p *procd) concerned(r request) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name, s := range p.services {
		list := s.spec.configs
		if r.Name == "interface" {
			list = s.spec.interfaces
		}
		if len(r.Args) > 0 && slices.Contains(list, r.Args[0]) {
			out = append(out, name)
		}
	}
	return out
}
