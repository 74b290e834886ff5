package luci

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
)

// session is the only one there is.
const session = "0123456789abcdef0123456789abcdef"

// Status numbers of ubus.
const (
	ubusOK         = 0
	ubusInvalid    = 2 // argument
	ubusNoMethod   = 3
	ubusNotFound   = 4
	ubusNoData     = 5
	ubusPermission = 6
	ubusFailed     = 9
)

// acl is what the session may do: LuCI's own rights and those of the package.
type acl struct {
	methods map[string][]string // by object
	configs []string
}

// load reads an access list of rpcd and grants all of it.
func (a *acl) load(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read access list: %w", err)
	}
	type rights struct {
		UBus map[string][]string `json:"ubus"`
		UCI  []string            `json:"uci"`
	}
	var groups map[string]struct{ Read, Write rights }
	if err := json.Unmarshal(raw, &groups); err != nil {
		return fmt.Errorf("read access list: %w", err)
	}
	a.methods = map[string][]string{
		"session": {"access", "login"}, "luci": {"getFeatures"},
		"uci": {"add", "apply", "changes", "confirm", "delete", "get", "order", "revert", "set", "state"},
	}
	a.configs = []string{"luci"}
	for _, g := range groups {
		for _, r := range []rights{g.Read, g.Write} {
			for object, methods := range r.UBus {
				a.methods[object] = append(a.methods[object], methods...)
			}
			a.configs = append(a.configs, r.UCI...)
		}
	}
	return nil
}

// call is one call of ubus over JSON-RPC 2.0.
type call struct {
	ID     any               `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// ubus answers a call or a batch of them.
func (s *Server) ubus(w http.ResponseWriter, r *http.Request) {
	const most = 1 << 20
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var batch []call
	if json.Unmarshal(raw, &batch) == nil {
		out := make([]any, len(batch))
		for i, c := range batch {
			out[i] = s.answer(c)
		}
		fmt.Fprint(w, encode(out))
		return
	}
	var one call
	if err := json.Unmarshal(raw, &one); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, encode(s.answer(one)))
}

func (s *Server) answer(c call) any {
	reply := func(result any) any { return map[string]any{"jsonrpc": "2.0", "id": c.ID, "result": result} }
	const params = 4 // session, object, method, arguments
	if c.Method == "list" {
		return reply(map[string]any{})
	}
	if c.Method != "call" || len(c.Params) != params {
		return map[string]any{"jsonrpc": "2.0", "id": c.ID, "error": map[string]any{"code": -32601, "message": "Method not found"}}
	}
	var object, method string
	if json.Unmarshal(c.Params[1], &object) != nil || json.Unmarshal(c.Params[2], &method) != nil {
		return reply([]any{ubusInvalid})
	}
	if !slices.Contains(s.acl.methods[object], method) {
		return reply([]any{ubusPermission})
	}
	status, data := s.call(object, method, c.Params[3])
	if status != ubusOK || data == nil {
		return reply([]any{status})
	}
	return reply([]any{status, data})
}

// call carries a permitted call out.
func (s *Server) call(object, method string, args json.RawMessage) (status int, data any) {
	switch object {
	case "session":
		return ubusOK, map[string]any{"access": true}
	case "luci":
		return ubusOK, map[string]any{}
	case "luci-rpc":
		return ubusOK, s.o.Hosts
	case "uci":
		return s.uci(method, args)
	case "routerd":
		return s.routerd(method, args)
	}
	return ubusNotFound, nil
}

// routerd asks the plugin, as rpcd does: the session is added to the arguments,
// and an answer that is no object is a failure.
func (s *Server) routerd(method string, args json.RawMessage) (status int, data any) {
	var fields map[string]any
	if json.Unmarshal(args, &fields) != nil {
		return ubusInvalid, nil
	}
	fields["ubus_rpc_session"] = session
	out, err := s.o.Plugin([]byte(encode(fields)), "call", method)
	if err != nil {
		return ubusNoMethod, nil
	}
	var answer map[string]any
	if json.Unmarshal(out, &answer) != nil {
		return ubusFailed, nil
	}
	return ubusOK, answer
}
