package interfere

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

// Socket is where a controller listens: an abstract name, which every network
// namespace has for itself.
const Socket = "@routerd-lab-interfere"

// Request asks a controller for one thing.
type Request struct {
	Add *Interference `json:"add,omitempty"`
	// Remove is an ID, a kind, or "" for everything.
	Remove *string `json:"remove,omitempty"`
	List   bool    `json:"list,omitempty"`
}

// Reply is what a controller says.
type Reply struct {
	Error string         `json:"error,omitempty"`
	Added *Interference  `json:"added,omitempty"`
	All   []Interference `json:"all,omitempty"`
}

// Serve runs the controller of the host that this process is in until ctx ends.
func Serve(ctx context.Context, c Config) error {
	k, err := newController(ctx, c)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", Socket)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("take request: %w", err)
		}
		go func() {
			defer conn.Close()
			var r Request
			if err := json.NewDecoder(conn).Decode(&r); err == nil {
				_ = json.NewEncoder(conn).Encode(k.answer(r))
			}
		}()
	}
}

func (k *controller) answer(r Request) Reply {
	var out Reply
	var err error
	switch {
	case r.Add != nil:
		var x Interference
		x, err = k.add(*r.Add)
		out.Added = &x
	case r.Remove != nil:
		err = k.remove(*r.Remove)
	default:
		out.All, err = k.list()
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// Ask asks the controller at the other end of a connection to Socket.
func Ask(conn net.Conn, r Request) (Reply, error) {
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Reply{}, fmt.Errorf("ask for interference: %w", err)
	}
	var out Reply
	if err := json.NewDecoder(conn).Decode(&out); err != nil {
		return Reply{}, fmt.Errorf("read answer of interference: %w", err)
	}
	if out.Error != "" {
		return out, errors.New(out.Error)
	}
	return out, nil
}
