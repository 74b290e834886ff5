package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program finds a program of others that tests need.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install --no-install-recommends %s", name, pkg)
	}
	return path
}

const nginxText = `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server {
		listen unix:%[1]s/socket ssl http2;
		ssl_certificate %[1]s/cert; ssl_certificate_key %[1]s/key;
		keepalive_requests 4;
		location /said { add_header X-Got "$http_x_asked $content_length"; return 200 "$request"; }
		location / { root %[1]s/files; }
	}
}
`

// nginx serves HTTP/2, and files, over a socket, whose path it gives.
func nginx(t *testing.T, files map[string]string) string {
	t.Helper()
	path, dir := program(t, "nginx", "nginx-light"), t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"conf": fmt.Sprintf(nginxText, dir),
		"cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key":  string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})),
	}
	for name, text := range files {
		all["files/"+name] = text
	}
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var output bytes.Buffer
	cmd := exec.Command(path, "-e", "stderr", "-c", filepath.Join(dir, "conf"))
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx says\n%s", output.String())
		}
	})
	return filepath.Join(dir, "socket")
}

// connectNginx opens a connection, once the server listens.
func connectNginx(t *testing.T, socket string) *Conn2 {
	t.Helper()
	for end := time.Now().Add(deadline); ; {
		conn, err := tls.Dial("unix", socket, &tls.Config{InsecureSkipVerify: true, ServerName: "a.example", NextProtos: []string{"h2"}})
		if err == nil {
			c := NewConn2(conn, 4<<10, 1<<16)
			t.Cleanup(c.Close)
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestNginxIsAsked ends each connection after four requests, by GOAWAY.
func TestNginxIsAsked(t *testing.T) {
	small, full := "small", strings.Repeat("0123456789abcdef", 1<<12)
	socket := nginx(t, map[string]string{"small": small, "full": full})
	for range 3 {
		c := connectNginx(t, socket)
		for _, w := range []struct {
			call      *Call
			want, got string
		}{
			{&Call{Method: MethodGet, URL: address(t, "https://a.example/small")}, small, ""},
			{&Call{Method: MethodGet, URL: address(t, "https://a.example/full")}, full, ""},
			{post(t, "/said?a=b", strings.Repeat("x", 300)), "POST /said?a=b HTTP/2.0", "1 300"},
			{post(t, "/said", ""), "POST /said HTTP/2.0", "1 0"},
		} {
			a, err := c.Ask(t.Context(), w.call)
			if err != nil || a.Status != "200 OK" || string(a.Body) != w.want || a.Header.Get("X-Got") != w.got {
				t.Fatalf("%v %+.200v", err, a)
			}
		}
		awaitEnd(t, c)
		if _, err := c.Ask(t.Context(), post(t, "/said", "")); !errors.Is(err, ErrOver) {
			t.Errorf("a fifth request: %v", err)
		}
	}
}

// awaitEnd waits until a server has said that it takes no more.
func awaitEnd(t *testing.T, c *Conn2) {
	t.Helper()
	for end := time.Now().Add(deadline); !c.Over(); {
		if time.Now().After(end) {
			t.Fatal("the connection goes on")
		}
	}
}

func TestCurlIsAnswered(t *testing.T) {
	curl := program(t, "curl", "curl")
	at := serving(t, &Server{Handler: echo})
	for want, args := range map[string][]string{
		"GET /a b=c 1":                      {"/a?b=c"},
		"GET /old  1":                       {"--http1.0", "/old"},
		"POST /post  1":                     {"--data", "hello", "/post"},
		"POST /wait  1":                     {"--data", "hello", "-H", "Expect: 100-continue", "--expect100-timeout", "5", "/wait"},
		"PUT /chunked  1":                   {"--upload-file", "-", "/chunked"},
		"abc" + strings.Repeat("d", 10_000): {"/stream"},
		"the body is too large":             {"--data", strings.Repeat("x", 5000), "/large"},
		"":                                  {"--head", "--output", "/dev/null", "/head"},
		"GET /1  1GET /2  1":                {"/1", "/2"},
	} {
		line := []string{"--silent", "--show-error", "--max-time", "10", "-H", "X-A: 1"}
		for _, arg := range args {
			if strings.HasPrefix(arg, "/") && arg != "/dev/null" {
				arg = "http://" + at + arg
			}
			line = append(line, arg)
		}
		cmd := exec.CommandContext(t.Context(), curl, line...)
		cmd.Stdin = strings.NewReader("from a pipe")
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want || time.Since(began) > 4*time.Second {
			t.Errorf("%q after %v: %.200q %v", args, time.Since(began), out, err)
		}
	}
}
