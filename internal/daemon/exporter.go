package daemon

import (
	"context"
	"fmt"
	"net"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
)

// exporter answers scrapes over TCP, where option metrics_listen says so. The
// loop's goroutine owns it; the zero value does not listen.
type exporter struct {
	at     string     // host:port that it listens on; "": none
	stop   func()     // ends the server
	ended  chan error // gets the server's end
	failed string     // why it does not listen on what the settings say
}

// serveMetrics listens where settings say. That it cannot is no reason to refuse
// them: the address may come with a device that is not up yet.
func (d *daemon) serveMetrics(ctx context.Context, s *settings) {
	e, want := &d.exporter, s.cfg.Main.MetricsListen
	e.look()
	if want == e.at && e.failed == "" {
		return
	}
	e.close()
	failed := ""
	if want != "" {
		if err := e.listen(ctx, want, d); err != nil {
			failed = fmt.Sprintf("option metrics_listen '%s': %v; metrics are on the control socket only, and it is tried again", want, err)
		}
	}
	if e.failed = failed; failed == d.view.unheard {
		return
	}
	d.set(func(v *view) { v.unheard = failed })
	if failed != "" {
		d.log.Error("cannot listen for scrapes of metrics", "error", failed)
		d.fault("metrics_listen", failed)
	}
}

// serveMetricsAgain tries again what failed.
func (d *daemon) serveMetricsAgain(ctx context.Context) {
	if d.target == nil || d.unmet {
		return
	}
	d.serveMetrics(ctx, d.target)
}

func (e *exporter) listen(ctx context.Context, at string, d *daemon) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	e.at, e.stop, e.ended = at, stop, make(chan error, 1)
	go func() { // ends with ctx
		e.ended <- control.ServeMetrics(ctx, ln, d.metrics, d.log)
	}()
	d.log.Info("metrics are served", "address", ln.Addr())
	return nil
}

// look takes note of a server that has ended by itself.
func (e *exporter) look() {
	if e.at == "" {
		return
	}
	select {
	case err := <-e.ended:
		e.stop()
		e.at, e.failed = "", fmt.Sprint(err)
	default:
	}
}

// close ends the server and waits for its end.
func (e *exporter) close() {
	if e.at == "" {
		return
	}
	e.stop()
	<-e.ended
	e.at = ""
}

// problems say to whom reloads that it does not listen.
func (e *exporter) problems(s *settings) []config.Problem {
	if e.failed == "" {
		return nil
	}
	return []config.Problem{{
		Level: config.LevelNote, Section: "main", Option: "metrics_listen", Value: s.cfg.Main.MetricsListen, Text: e.failed,
	}}
}
