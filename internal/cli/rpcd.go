package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

// Bounds of a call by rpcd.
const (
	// maxRPC is the size of the largest request, bytes: a wg-quick file of the
	// greatest size, escaped.
	maxRPC = 256 << 10
	// rpcTime ends a call before rpcd would (its default is 30 s), so that the
	// page learns why.
	rpcTime = 25 * time.Second
	// maxRPCRows bounds lists in answers: ubus takes messages of 1 MiB.
	maxRPCRows = 500
)

// The codes of an rpcFailure.
const (
	codeUsage      = "usage"       // the request is wrong
	codeNotRunning = "not_running" // no daemon answers
	codeMissing    = "unsupported" // this version cannot do it
	codeFailed     = "failed"      // everything else
)

// rpcFailure answers a call that failed. rpcd itself only knows numbers.
type rpcFailure struct {
	Error    string            `json:"error"`
	Code     string            `json:"code"`
	Problems []control.Problem `json:"problems,omitempty"`
}

// rpcMethod is one method of the ubus object routerd.
type rpcMethod struct {
	name string
	// args is a JSON object that shows by example what the method takes, as
	// rpcd wants it.
	args json.RawMessage
	call func(ctx context.Context, request []byte) (any, error)
}

// nothing is the request of a method without arguments.
type nothing struct{}

// method makes one whose request is an In and nothing else.
func method[In any](name string, call func(context.Context, In) (any, error)) rpcMethod {
	var example In
	args, err := json.Marshal(example)
	if err != nil {
		args = []byte("{}") // no request type of ours is without JSON
	}
	args = bytes.ReplaceAll(args, []byte("null"), []byte("[]")) // a list
	return rpcMethod{name: name, args: args, call: func(ctx context.Context, request []byte) (any, error) {
		var in In
		if err := decodeRequest(request, &in); err != nil {
			return nil, err
		}
		return call(ctx, in)
	}}
}

// decodeRequest reads the one JSON object of a request. Names that the method
// does not know are refused, but for the session that rpcd adds.
func decodeRequest(request []byte, into any) error {
	if len(bytes.TrimSpace(request)) == 0 {
		request = []byte("{}")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(request, &fields); err != nil {
		return usageError{fmt.Errorf("the request is no JSON object: %w", err)}
	}
	delete(fields, "ubus_rpc_session")
	plain, err := json.Marshal(fields)
	if err != nil {
		return usageError{fmt.Errorf("the request cannot be read: %w", err)}
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return usageError{fmt.Errorf("the request does not fit the method: %w", err)}
	}
	return nil
}

// rpcMethods are all methods, those that only read first.
func (a *app) rpcMethods() []rpcMethod { return append(a.rpcReading(), a.rpcWriting()...) }

func (a *app) rpcdCommand() *command.Command {
	cmd := &command.Command{
		Use:   "rpcd",
		Short: "Serve the ubus object routerd to rpcd",
		Long: `What rpcd's plugin /usr/libexec/rpcd/routerd runs: "list" describes the methods
of the ubus object routerd, "call" reads a request as JSON from standard input
and answers with one JSON object. A call that fails answers {"error", "code"}.
LuCI asks by these; who may is said in /usr/share/rpcd/acl.d.`,
		Example: `  routerd rpcd list
  echo '{"query":"api.binance.com"}' | routerd rpcd call why
  ubus call routerd status`,
	}
	cmd.Add(a.rpcdListCommand(), a.rpcdCallCommand())
	return cmd
}

func (a *app) rpcdListCommand() *command.Command {
	return &command.Command{
		Use:     "list",
		Short:   "Describe the methods and their arguments",
		Example: "  routerd rpcd list",
		Args:    command.None,
		Run: func(context.Context, []string) error {
			all := map[string]json.RawMessage{}
			for _, m := range a.rpcMethods() {
				all[m.name] = m.args
			}
			return a.printJSONLine(all)
		},
	}
}

func (a *app) rpcdCallCommand() *command.Command {
	cmd := &command.Command{
		Use:     "call METHOD",
		Short:   "Answer one call",
		Example: `  echo '{"query":"api.binance.com"}' | routerd rpcd call why`,
		Args:    command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		all := a.rpcMethods()
		i := slices.IndexFunc(all, func(m rpcMethod) bool { return m.name == args[0] })
		if i < 0 {
			return usageError{fmt.Errorf("there is no method %q", args[0])}
		}
		ctx, cancel := context.WithTimeout(ctx, rpcTime)
		defer cancel()
		return a.printJSONLine(a.rpcAnswer(ctx, all[i]))
	}
	return cmd
}

// rpcAnswer makes the answer to a call, a failure included: an exit status would
// not reach the page.
func (a *app) rpcAnswer(ctx context.Context, m rpcMethod) any {
	request, err := io.ReadAll(io.LimitReader(a.stdin, maxRPC+1))
	switch {
	case err != nil:
		return rpcFailure{Error: "read the request: " + err.Error(), Code: codeFailed}
	case len(request) > maxRPC:
		return rpcFailure{Error: fmt.Sprintf("the request is larger than %d bytes", maxRPC), Code: codeUsage}
	}
	answer, err := m.call(ctx, request)
	if err != nil {
		return failureOf(err)
	}
	return answer
}

// refusedError is a reload that the daemon refused, with what it says of the
// settings.
type refusedError struct {
	error
	problems []control.Problem
}

func failureOf(err error) rpcFailure {
	f := rpcFailure{Error: err.Error(), Code: codeFailed}
	var usage usageError
	var api *control.APIError
	var refused refusedError
	const notFound, notImplemented = 404, 501 // of HTTP: an older daemon
	switch {
	case errors.As(err, &refused):
		f.Problems = refused.problems
	case errors.As(err, &usage), errors.Is(err, control.ErrInvalid):
		f.Code = codeUsage
	case errors.Is(err, control.ErrNotRunning):
		f.Code, f.Error = codeNotRunning, "routerd is not running"
	case errors.As(err, &api) && (api.Status == notFound || api.Status == notImplemented):
		f.Code = codeMissing
	}
	return f
}
