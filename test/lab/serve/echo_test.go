package serve_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab/serve"
)

func TestEchoAnswersFromTheAddressAsked(t *testing.T) {
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.LocalAddr().String())
	_ = free.Close()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve.Echo(ctx, ":"+port) }()
	for _, host := range []string{"127.0.0.1", "127.9.8.7", "::1"} { // all of 127/8 is this machine
		exchange(t, net.JoinHostPort(host, port))
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// exchange sends until an answer comes; a connected socket takes it from the
// address asked only.
func exchange(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer := make([]byte, 100)
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		_, _ = fmt.Fprint(c, "hello ", address)
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(answer); err == nil {
			if string(answer[:n]) != "hello "+address {
				t.Errorf("%s answers %q", address, answer[:n])
			}
			return
		}
	}
	t.Errorf("%s does not answer", address)
}

func TestEchoSaysWhereItCannotListen(t *testing.T) {
	if err := serve.Echo(t.Context(), "nowhere"); err == nil || !strings.Contains(err.Error(), "listen for echo") {
		t.Errorf("error is %v", err)
	}
}

func TestWireGuardRefusesSettingsItCannotRead(t *testing.T) {
	if err := serve.WireGuard(t.Context(), "/no/such/file"); err == nil || !strings.Contains(err.Error(), "read WireGuard settings") {
		t.Errorf("error is %v", err)
	}
}
