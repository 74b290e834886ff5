package crowd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// page asks the lab's servers for their page, again and again over one
// connection.
type page struct {
	conn net.Conn
	in   *bufio.Reader
	host string
}

func newPage(conn net.Conn, host string) *page { return &page{conn, bufio.NewReader(conn), host} }

// ask makes one request and reads the line "client ADDRESS" of the answer.
func (p *page) ask() (seen string, err error) {
	if _, err := fmt.Fprintf(p.conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", p.host); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	answer, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("read page: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("server answers %s", answer.Status)
	}
	for line := range strings.Lines(string(body)) {
		if seen, ok := strings.CutPrefix(line, "client "); ok {
			return strings.TrimSpace(seen), nil
		}
	}
	return "", fmt.Errorf("the page of %s does not name the client", p.host)
}
