package router

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/test/lab/authority"
	"github.com/routerd/routerd/test/lab/serve"
)

// authorities is the file of authorities that the daemon trusts.
func (w *world) authorities() string { return filepath.Join(w.dir, "authorities.pem") }

// serveServices serves what checks look at: every exchange's web server, and every
// pool, at all addresses of the internet.
func (w *world) serveServices() {
	w.Helper()
	builtin, err := catalogue.Builtin()
	w.must(err)
	ports := map[uint16]bool{443: true}
	for _, s := range builtin.Services() {
		for _, p := range s.Pools {
			ports[p.Port] = true
		}
	}
	delete(ports, 80) // has a server of its own
	var listen []string
	for port := range ports {
		listen = append(listen, ":"+strconv.Itoa(int(port)))
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	a, err := authority.New("authority")
	w.must(err)
	w.must(os.WriteFile(w.authorities(), a.PEM(), 0o600))
	go func() { // ends with the test
		w.in(w.net, func() {
			close(ready)
			ended <- serve.Stratum(ctx, serve.StratumOptions{Listen: listen, Authority: a})
		})
	}()
	<-ready
	w.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	})
}
