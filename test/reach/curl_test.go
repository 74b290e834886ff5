package reach_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/reach"
)

// TestRequestIsThatOfCurl holds what a check sends against what the real curl
// sends for the same address; versions of curl differ.
func TestRequestIsThatOfCurl(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 4)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			raw := make([]byte, 4<<10)
			n, _ := c.Read(raw)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
			got <- string(raw[:n])
		}
	}()
	url := "http://" + l.Addr().String() + "/api/v3/ping?symbol=BTC"
	if out, err := exec.CommandContext(t.Context(), "curl", "--http1.1", "--silent", "--noproxy", "*", "--max-time", "10", url).CombinedOutput(); err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	want := <-got
	p := reach.NewProber(reach.ProberOptions{Dial: func(ctx context.Context, _ dns.Path, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	o := p.Observe(t.Context(), reach.Path{Name: "direct", Direct: true}, targets(url)[0], reach.Truth{}, reach.Depth{})
	if r := reach.Judge(o, nil); r.Outcome != reach.OutcomeOK || r.Status != http.StatusOK {
		t.Fatalf("%+v", r)
	}
	version := regexp.MustCompile(`curl/[0-9.]+`)
	if sent := version.ReplaceAllString(<-got, "curl"); sent != version.ReplaceAllString(want, "curl") {
		t.Errorf("a check sends %q, curl %q", sent, want)
	}
}
