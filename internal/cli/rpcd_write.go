package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/tunnel"
)

// The requests of writing methods.
type (
	importRequest struct {
		Name    string `json:"name"`
		Text    string `json:"text"` // a wg-quick file
		Replace bool   `json:"replace"`
	}
	createRequest struct {
		Name string `json:"name"`
		newTunnel
	}
	attachRequest struct {
		Name   string `json:"name"`
		Device string `json:"device"`
	}
	changeRequest struct {
		Name   string `json:"name"`
		Action string `json:"action"` // enable, disable, prefer
	}
	nameRequest struct {
		Name string `json:"name"`
	}
)

// rpcWriting are the methods that change something; LuCI's write ACL names
// exactly these.
func (a *app) rpcWriting() []rpcMethod {
	return []rpcMethod{
		method("tunnel_import", a.rpcImport),
		method("tunnel_create", a.rpcCreate),
		method("tunnel_attach", a.rpcAttach),
		method("tunnel_change", a.rpcChange),
		method("tunnel_remove", a.rpcRemove),
		method("start", a.rpcStart),
		method("reload", a.rpcReload),
		method("lists_update", a.rpcUpdateLists),
	}
}

// tunnelAnswer says what became of a tunnel. It never holds a private key.
type tunnelAnswer struct {
	Name      string   `json:"name"`
	PublicKey string   `json:"public_key"` // this router's, for the other end
	Notes     []string `json:"notes"`
	Applied   bool     `json:"applied"` // false: no daemon runs, it counts from the next start
}

func (a *app) rpcImport(ctx context.Context, in importRequest) (any, error) {
	if err := checkTunnelName(in.Name); err != nil {
		return nil, err
	}
	settings, err := tunnel.ParseQuick(bytes.NewReader([]byte(in.Text)))
	if err != nil {
		return nil, usageError{err}
	}
	return a.rpcStore(ctx, in.Name, []byte(in.Text), settings, in.Replace)
}

func (a *app) rpcCreate(ctx context.Context, in createRequest) (any, error) {
	if err := checkTunnelName(in.Name); err != nil {
		return nil, err
	}
	quick, settings, err := in.quick()
	if err != nil {
		return nil, usageError{err}
	}
	return a.rpcStore(ctx, in.Name, quick, settings, false)
}

// rpcStore keeps a wg-quick file and applies it.
func (a *app) rpcStore(ctx context.Context, name string, quick []byte, settings tunnel.Settings, replace bool) (any, error) {
	if _, _, err := a.storeTunnel(name, quick, replace); err != nil {
		return nil, err
	}
	answer := tunnelAnswer{Name: name, PublicKey: settings.PrivateKey.PublicKey().String(), Notes: []string{}}
	for _, n := range settings.Notes {
		answer.Notes = append(answer.Notes, noteText(n))
	}
	var err error
	answer.Applied, err = a.reloadIfRunning(ctx)
	return answer, err
}

// appliedAnswer says whether a change is in force.
type appliedAnswer struct {
	Applied bool `json:"applied"`
}

func (a *app) rpcAttach(ctx context.Context, in attachRequest) (any, error) {
	if err := checkTunnelName(in.Name); err != nil {
		return nil, err
	}
	if err := config.AttachTunnel(a.files.config, in.Name, in.Device); err != nil {
		return nil, err
	}
	applied, err := a.reloadIfRunning(ctx)
	return appliedAnswer{applied}, err
}

func (a *app) rpcChange(ctx context.Context, in changeRequest) (any, error) {
	if err := a.changeTunnel(in.Name, in.Action); err != nil {
		return nil, err
	}
	applied, err := a.reloadIfRunning(ctx)
	return appliedAnswer{applied}, err
}

// initScript is the service; procd answers at once.
const initScript = "/etc/init.d/routerd"

// rpcStart starts the service, now and at every boot.
func (a *app) rpcStart(ctx context.Context, _ nothing) (any, error) {
	for _, action := range []string{"enable", "start"} {
		if out, err := exec.CommandContext(ctx, initScript, action).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s %s: %w: %s", initScript, action, err, bytes.TrimSpace(out))
		}
	}
	return appliedAnswer{true}, nil
}

// removeAnswer says what was removed beside the tunnel itself.
type removeAnswer struct {
	File    string `json:"file"` // "" where there was none of ours
	Applied bool   `json:"applied"`
}

func (a *app) rpcRemove(ctx context.Context, in nameRequest) (any, error) {
	if err := checkTunnelName(in.Name); err != nil {
		return nil, err
	}
	file, err := a.removeTunnel(in.Name)
	if err != nil {
		return nil, err
	}
	applied, err := a.reloadIfRunning(ctx)
	return removeAnswer{File: file, Applied: applied}, err
}

func (a *app) rpcReload(ctx context.Context, _ nothing) (any, error) {
	problems, err := a.client().Reload(ctx)
	if err != nil {
		return nil, refusedOr(problems, err)
	}
	return validateAnswer{problems}, nil
}

// reloadIfRunning applies settings; false means that no daemon runs.
func (a *app) reloadIfRunning(ctx context.Context) (bool, error) {
	problems, err := a.client().Reload(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return false, nil
	}
	if err != nil {
		return false, refusedOr(problems, err)
	}
	return true, nil
}

func refusedOr(problems []control.Problem, err error) error {
	if isRefusal(err) {
		return refusedError{reloadError(err), problems}
	}
	return err
}

// updateAnswer is the last line of each list.
type updateAnswer struct {
	Lists []control.ListProgress `json:"lists"`
}

func (a *app) rpcUpdateLists(ctx context.Context, in nameRequest) (any, error) {
	name, err := control.ParseListName(in.Name)
	if err != nil {
		return nil, err
	}
	answer := updateAnswer{Lists: []control.ListProgress{}}
	for p, err := range a.client().UpdateList(ctx, name) {
		if err != nil {
			return nil, err
		}
		if p.State != control.ListFetching {
			answer.Lists = append(answer.Lists, p)
		}
	}
	return answer, nil
}
