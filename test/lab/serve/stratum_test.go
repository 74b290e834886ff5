package serve_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab/serve"
)

// startStratum serves on a free port of loopback and gives its address.
func startStratum(t *testing.T, o serve.StratumOptions) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	o.Listen = []string{address}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve.Stratum(ctx, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}

// dial connects once the server listens.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.SetDeadline(deadline)
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// talk sends lines and reads messages until one has the wanted text.
func talk(t *testing.T, c net.Conn, in *bufio.Reader, line, want string) string {
	t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		t.Fatal(err)
	}
	return await(t, in, want)
}

func await(t *testing.T, in *bufio.Reader, want string) string {
	t.Helper()
	for {
		got, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if !json.Valid([]byte(got)) {
			t.Fatalf("not JSON: %s", got)
		}
		if strings.Contains(got, want) {
			return got
		}
	}
}

func TestStratumAnswersAsPoolsDo(t *testing.T) {
	c := dial(t, startStratum(t, serve.StratumOptions{JobEvery: time.Millisecond}))
	in := bufio.NewReader(c)
	talk(t, c, in, `{"id":1,"method":"mining.configure","params":[["version-rolling"],{}]}`, `"version-rolling.mask":"1fffe000"`)
	talk(t, c, in, `{"id":2,"method":"mining.subscribe","params":[]}`, `"mining.notify"`)
	talk(t, c, in, `{"id":3,"method":"mining.authorize","params":["anybody","x"]}`, `"id":3,"result":true`)
	await(t, in, "mining.set_difficulty")
	first, second := await(t, in, "mining.notify"), await(t, in, "mining.notify")
	if !strings.Contains(first, `"params":["1",`) || !strings.Contains(second, `"params":["2",`) {
		t.Errorf("jobs are %s and %s", first, second)
	}
	talk(t, c, in, `{"id":"four","method":"mining.submit","params":["anybody","1","0","0","0"]}`, `"id":"four","result":true`)
	talk(t, c, in, `{"id":5,"method":"mining.unheard_of"}`, "Unsupported method")
}

func TestStratumEndsAConnectionThatTalksNonsense(t *testing.T) {
	c := dial(t, startStratum(t, serve.StratumOptions{}))
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); err == nil {
		t.Errorf("it answers %q", got)
	}
}

func TestStratumAnswersHTTPLikeAWebServer(t *testing.T) {
	c := dial(t, startStratum(t, serve.StratumOptions{}))
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: pool.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 1000)
	n, err := c.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(raw[:n]); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "host pool.example\nserver 127.0.0.1\nclient 127.0.0.1\n") {
		t.Errorf("got %s", got)
	}
}

// certificates fills a directory with a certificate a file and their key.
func certificates(t *testing.T, names map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("key.pem", "EC PRIVATE KEY", der)
	for file, name := range names {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(file+".crt", "CERTIFICATE", der)
	}
	return dir
}

func TestStratumShowsTheCertificateOfTheNameAskedFor(t *testing.T) {
	address := startStratum(t, serve.StratumOptions{Certificates: certificates(t, map[string]string{
		"pool.example": "pool.example", "_.fresh.example": "*.fresh.example", "default": "default.invalid",
	})})
	for asked, want := range map[string]string{
		"pool.example": "pool.example", "POOL.example": "pool.example", "n1.fresh.example": "*.fresh.example",
		"nobody.example": "default.invalid", "": "default.invalid",
	} {
		for range 2 { // the second comes from the cache
			c := tls.Client(dial(t, address), &tls.Config{ServerName: asked, InsecureSkipVerify: true})
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
				t.Errorf("%q is shown the certificate of %s, want %s", asked, got, want)
			}
			talk(t, c, bufio.NewReader(c), `{"id":1,"method":"mining.subscribe"}`, "mining.notify")
		}
	}
}

func TestStratumSharesAPortWithLessSpecificServers(t *testing.T) {
	address := startStratum(t, serve.StratumOptions{})
	dial(t, address) // it listens
	_, port, _ := net.SplitHostPort(address)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serve.Stratum(ctx, serve.StratumOptions{Listen: []string{"0.0.0.0:" + port}}) }()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestStratumSaysWhereItCannotListen(t *testing.T) {
	if err := serve.Stratum(t.Context(), serve.StratumOptions{Listen: []string{"192.0.2.1:1"}}); err == nil {
		t.Error("it listens on an address of nobody")
	}
}

func TestStratumAnswersWhatItsStatusFilesSay(t *testing.T) {
	dir := t.TempDir()
	note := func(kind, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, kind), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, kind, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := startStratum(t, serve.StratumOptions{Statuses: dir})
	const subscribe = `{"id":1,"method":"mining.subscribe","params":[]}`
	c := dial(t, address)
	talk(t, c, bufio.NewReader(c), subscribe, `"error":null`)
	note("451", "pool.example")
	note("reject", "127.0.0.1")
	for host, want := range map[string]string{
		"Pool.example": "HTTP/1.1 451 Unavailable For Legal Reasons", "other.example": "HTTP/1.1 200 OK", "../451/pool.example": "HTTP/1.1 200 OK",
	} {
		c = dial(t, address)
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s answers %q, %v", host, got, err)
		}
	}
	c = dial(t, address)
	talk(t, c, bufio.NewReader(c), subscribe, "Not allowed in your region")
}
