package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/tunnel"
)

// newTunnel is what a person has to say of a tunnel whose key is made here.
type newTunnel struct {
	Addresses    []string `json:"addresses"`  // of this router inside the tunnel
	PeerKey      string   `json:"public_key"` // of the other end
	PresharedKey string   `json:"preshared_key"`
	Endpoint     string   `json:"endpoint"`    // host:port
	AllowedIPs   []string `json:"allowed_ips"` // empty: everything
	MTU          string   `json:"mtu"`         // "": what fits
	Keepalive    string   `json:"persistent_keepalive"`
}

// quick makes a wg-quick file with a new private key. Everything is checked by
// the same parser as a file of somebody else's; a value that would be a line of
// its own there is refused before.
func (n newTunnel) quick() ([]byte, tunnel.Settings, error) {
	private, _, err := tunnel.GenerateKey()
	if err != nil {
		return nil, tunnel.Settings{}, err
	}
	allowed := strings.Join(n.AllowedIPs, ", ")
	var b bytes.Buffer
	var bad error
	line := func(option, value string) {
		if strings.ContainsAny(value, "\r\n#") {
			bad = fmt.Errorf("%s: a value is one line, without #", option)
		}
		if value != "" {
			fmt.Fprintf(&b, "%s = %s\n", option, value)
		}
	}
	b.WriteString("[Interface]\n")
	line("PrivateKey", private.String())
	line("Address", strings.Join(n.Addresses, ", "))
	line("MTU", n.MTU)
	b.WriteString("\n[Peer]\n")
	line("PublicKey", n.PeerKey)
	line("PresharedKey", n.PresharedKey)
	line("AllowedIPs", cmp.Or(allowed, "0.0.0.0/0, ::/0"))
	line("Endpoint", n.Endpoint)
	line("PersistentKeepalive", n.Keepalive)
	if bad != nil {
		return nil, tunnel.Settings{}, bad
	}
	settings, err := tunnel.ParseQuick(bytes.NewReader(b.Bytes()))
	if err != nil {
		return nil, tunnel.Settings{}, withoutLines(err)
	}
	return b.Bytes(), settings, nil
}

// withoutLines drops the line numbers of a file that nobody has seen.
func withoutLines(err error) error {
	var faults tunnel.Faults
	if !errors.As(err, &faults) {
		return err
	}
	for _, f := range faults {
		f.Line = 0
	}
	return faults
}

func (a *app) tunnelCreateCommand() *command.Command {
	cmd := &command.Command{
		Use:   "create NAME",
		Short: "Make a tunnel with a key of this router's own",
		Long: `Makes a key pair on the router, keeps the private key in a file that only root
can read, adds the tunnel to the settings, applies them, and prints the public
key, which the other end needs. The private key is never shown.`,
		Example: `  routerd tunnel create home --address 10.9.0.2/32 --endpoint vpn.example.net:51820 --peer-key "$KEY"`,
		Args:    command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	var n newTunnel
	cmd.Strings(&n.Addresses, "address", "`ADDRESS` of this router inside the tunnel; may be repeated")
	cmd.String(&n.PeerKey, "peer-key", "public `KEY` of the other end")
	cmd.String(&n.Endpoint, "endpoint", "`HOST:PORT` of the other end")
	cmd.Strings(&n.AllowedIPs, "allowed-ips", "`NETWORK` behind the other end; without one: everything")
	cmd.String(&n.MTU, "mtu", "`BYTES` of the largest packet; without it: what fits")
	cmd.String(&n.Keepalive, "keepalive", "`SECONDS` between signs of life")
	cmd.Run = func(ctx context.Context, args []string) error {
		if err := checkTunnelName(args[0]); err != nil {
			return err
		}
		quick, settings, err := n.quick()
		if err != nil {
			return usageError{err}
		}
		path, _, err := a.storeTunnel(args[0], quick, false)
		if err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("tunnel %s added (%s)", args[0], path),
			"public key of this router, for the other end: "+settings.PrivateKey.PublicKey().String()); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}
