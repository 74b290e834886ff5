package interfere

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/routerd/routerd/test/lab/authority"
)

// BlockPageText stands in every block page.
const BlockPageText = "Access to this resource is restricted by your provider"

// blockPageHTML is a whole page as providers show it.
const blockPageHTML = `<!DOCTYPE html>
<html><head><title>Access restricted</title></head>
<body><h1>Access restricted</h1><p>` + BlockPageText + `.</p></body></html>
`

// serveBlockPage answers HTTP and HTTPS at addresses, for whatever host, until
// ctx ends.
func serveBlockPage(ctx context.Context, a *authority.Authority, name string, addresses []netip.Addr) error {
	own, err := a.Certificate(name)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		for port, config := range map[uint16]*tls.Config{
			80:  nil,
			443: {Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12},
		} {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(address, port).String())
			if err != nil {
				return fmt.Errorf("listen for block page: %w", err)
			}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			server := &http.Server{Handler: http.HandlerFunc(blockPage), ReadHeaderTimeout: time.Minute}
			context.AfterFunc(ctx, func() { _ = server.Close() })
			go func() { _ = server.Serve(l) }() // ends with ctx
		}
	}
	return nil
}

func blockPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Server", "provider")
	_, _ = fmt.Fprint(w, blockPageHTML)
}

// answerBlocked answers a plain HTTP request with the block page or the way to
// it, and closes.
func answerBlocked(w *bufio.Writer, answer, page string) error {
	head := "HTTP/1.1 302 Found\r\nLocation: http://" + page + "/\r\n"
	body := ""
	if answer == AnswerPage {
		head, body = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n", blockPageHTML
	}
	if _, err := fmt.Fprintf(w, "%sServer: provider\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body); err != nil {
		return fmt.Errorf("answer with block page: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("answer with block page: %w", err)
	}
	return nil
}
