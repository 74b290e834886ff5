package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/web"
)

// daemonFacts are what the daemon says of itself.
type daemonFacts struct {
	status   control.Status
	findings []control.Finding
	err      error
}

// slow is why no connection passes the rules by; "": some do, or it is not known.
func (f daemonFacts) slow() string {
	if why := f.status.DataPlane.FlowOffload; why != control.OffloadOn {
		return why
	}
	return ""
}

func askDaemon(ctx context.Context, socket string) daemonFacts {
	client := control.NewClient(socket)
	var f daemonFacts
	if f.status, f.err = client.Status(ctx); f.err != nil {
		return f
	}
	findings, err := client.Doctor(ctx)
	var missing *control.APIError
	if errors.As(err, &missing) && (missing.Status == web.StatusNotImplemented || missing.Status == web.StatusServiceUnavailable) {
		err = nil // it has nothing to say, or nothing yet: its status tells why
	}
	f.findings, f.err = findings, err
	return f
}

func judgeDaemon(f daemonFacts) []control.Finding {
	switch {
	case errors.Is(f.err, control.ErrNotRunning):
		return []control.Finding{fault(topicDaemon, "routerd is not running",
			"start it with `/etc/init.d/routerd enable; /etc/init.d/routerd start`, then see `logread -e routerd`")}
	case f.err != nil:
		return []control.Finding{fault(topicDaemon, fmt.Sprintf("the daemon cannot be asked: %v", f.err),
			"run this as root; see `logread -e routerd`")}
	}
	out := []control.Finding{}
	for _, p := range f.status.Problems {
		out = append(out, fault(topicDaemon, p, "see `routerd status` and `routerd events`"))
	}
	if len(out) == 0 {
		out = append(out, fine(topicDaemon, fmt.Sprintf("routerd %s is running and reports no problem", f.status.Version)))
	}
	return append(out, f.findings...)
}
