package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"

	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// What each client does.
const (
	workers = 4
	lasting = 2 // of each family, listed and unlisted
)

// clientHosts are the lab's clients.
func clientHosts() []string { return []string{lab.Client, lab.Client2} }

// clients are the crowds that run inside the lab's clients.
type clients struct {
	all  []*exec.Cmd
	ends sync.WaitGroup

	mu     sync.Mutex
	failed error // of a crowd; guarded by mu
}

// startClients starts a crowd in each client; command is the program that calls
// crowd.Run, with its arguments. What they tell goes to take.
func startClients(l *lab.Lab, command []string, seed uint64, p *population, take func(crowd.Attempt)) (*clients, error) {
	c := &clients{}
	for i, host := range clientHosts() {
		orders, err := json.Marshal(crowd.Orders{
			Client: host, Seed: seed + uint64(i), Listed: p.listed, Unlisted: p.unlisted,
			Servers: servers(), Workers: workers, Lasting: lasting,
		})
		if err != nil {
			return c, fmt.Errorf("encode orders: %w", err)
		}
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin = bytes.NewReader(orders)
		var wrote bytes.Buffer
		cmd.Stderr = &wrote
		out, err := cmd.StdoutPipe()
		if err != nil {
			return c, fmt.Errorf("open pipe to %s: %w", host, err)
		}
		if err := l.Start(host, cmd); err != nil {
			return c, err
		}
		c.all = append(c.all, cmd)
		c.ends.Go(func() { // ends with the crowd
			c.fail(host, listen(out, take), &wrote)
		})
	}
	return c, nil
}

// servers are what clients ask: mostly the router's dnsmasq, else the public
// resolver, as devices with a server of their own do.
func servers() []string {
	at := func(a string) string { return net.JoinHostPort(a, "53") }
	return []string{
		at(lab.RouterLAN4), at(lab.RouterLAN4), at(lab.RouterLAN6), at(lab.RouterLAN6), at(lab.Resolver4), at(lab.Resolver6),
	}
}

// listen passes attempts on until the crowd ends.
func listen(out io.Reader, take func(crowd.Attempt)) error {
	in := json.NewDecoder(out)
	for {
		var a crowd.Attempt
		if err := in.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what a client tells: %w", err)
		}
		take(a)
	}
}

func (c *clients) fail(host string, err error, wrote *bytes.Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed = errors.Join(c.failed, fmt.Errorf("%s: %w: %s", host, err, wrote))
	}
}

// stop ends the crowds and waits for the last of what they tell.
func (c *clients) stop(ctx context.Context) error {
	for _, cmd := range c.all {
		_ = cmd.Process.Signal(os.Interrupt)
	}
	kill := context.AfterFunc(ctx, func() {
		for _, cmd := range c.all {
			_ = cmd.Process.Kill()
		}
	})
	defer kill()
	c.ends.Wait()
	for _, cmd := range c.all {
		if err := cmd.Wait(); err != nil {
			c.fail("crowd", err, &bytes.Buffer{})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}
