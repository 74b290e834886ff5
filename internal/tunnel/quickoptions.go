package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/sorting"
)

// The methods here take one decoded value each into the settings.

func (p *quickParser) privateKey(value string) error {
	key, err := decodeKey(value)
	if err != nil {
		return err
	}
	if p.settings.PrivateKey != (wgtypes.Key{}) {
		return errors.New("stands twice: keep one")
	}
	p.settings.PrivateKey = clamp(key)
	return nil
}

func (p *quickParser) address(value string) error {
	prefix, err := decodeAddress(value)
	if err != nil {
		return err
	}
	if len(p.settings.Addresses) == maxAddresses {
		return fmt.Errorf("more than %d addresses", maxAddresses)
	}
	if !slices.Contains(p.settings.Addresses, prefix) {
		p.settings.Addresses = append(p.settings.Addresses, prefix)
	}
	return nil
}

func (p *quickParser) mtu(value string) (err error) {
	p.settings.MTU, err = decodeMTU(value)
	return err
}

func (p *quickParser) listenPort(value string) (err error) {
	p.settings.ListenPort, err = decodePort(value, 0)
	return err
}

func (p *quickParser) dns(value string) error {
	p.settings.DNS = append(p.settings.DNS, shown(value))
	p.note("DNS", "is not used: routerd resolves listed names with option resolver and leaves all other lookups alone")
	return nil
}

func ignored(option, why string) func(*quickParser, string) error {
	return func(p *quickParser, _ string) error {
		p.note(option, "is not used: "+why)
		return nil
	}
}

func (p *quickParser) hook(string) error {
	return fmt.Errorf("routerd runs no commands from a tunnel file; remove line %d", p.line)
}

func (p *quickParser) saveConfig(value string) error {
	if strings.EqualFold(value, "false") {
		return nil
	}
	return fmt.Errorf("routerd never writes to a tunnel file; remove line %d", p.line)
}

func (p *quickParser) publicKey(value string) error {
	key, err := decodeKey(value)
	if err != nil {
		return err
	}
	if p.peer().PublicKey != (wgtypes.Key{}) {
		return errors.New("stands twice: keep one, or begin another [Peer]")
	}
	p.peer().PublicKey = key
	return nil
}

func (p *quickParser) presharedKey(value string) error {
	key, err := decodeKey(value)
	if err != nil {
		return err
	}
	if p.peer().PresharedKey != nil {
		return errors.New("stands twice: keep one")
	}
	p.peer().PresharedKey = &key
	return nil
}

func (p *quickParser) allowedIPs(value string) error {
	prefix, err := decodeAllowed(value)
	if err != nil {
		return err
	}
	count := 0
	for _, peer := range p.settings.Peers {
		count += len(peer.AllowedIPs)
	}
	if count == maxPrefixes {
		return fmt.Errorf("more than %d networks", maxPrefixes)
	}
	p.peer().AllowedIPs = append(p.peer().AllowedIPs, prefix)
	return nil
}

func (p *quickParser) endpoint(value string) (err error) {
	p.peer().Endpoint, err = decodeEndpoint(value)
	return err
}

func (p *quickParser) persistentKeepalive(value string) (err error) {
	p.peer().Keepalive, err = decodeKeepalive(value)
	p.keepalive[len(p.keepalive)-1] = true
	return err
}

// finish fills in defaults and says what is missing or contradicts itself.
func (p *quickParser) finish() Faults {
	if p.iface == 0 {
		return Faults{{Text: "has no [Interface] section: this is not a wg-quick file"}}
	}
	for i := range p.settings.Peers {
		if !p.keepalive[i] {
			p.settings.Peers[i].Keepalive = DefaultKeepalive
		}
	}
	return p.settings.complete(p.iface, p.peers)
}

// complete brings the settings into the order in which they are compared and
// says what is missing. Lines are those of the sections, 0 where there are none.
func (s *Settings) complete(iface int, peers []int) Faults {
	var fs Faults
	add := func(line int, option, text string) {
		fs = append(fs, &Fault{Line: line, Option: option, Text: text})
	}
	if s.PrivateKey == (wgtypes.Key{}) {
		add(iface, "PrivateKey", "is missing: the tunnel's provider gives it, or `wg genkey` makes one")
	}
	if len(s.Addresses) == 0 {
		add(iface, "Address", "is missing: it is this router's address inside the tunnel, such as 10.9.0.2/32")
	}
	if s.MTU != 0 && s.MTU < minMTUv6 && slices.ContainsFunc(s.Addresses, isIPv6) {
		add(iface, "MTU", fmt.Sprintf("is %d, but IPv6 needs at least %d: raise it, or remove the IPv6 address", s.MTU, minMTUv6))
	}
	if len(s.Peers) == 0 {
		add(0, "", "has no [Peer] section: the tunnel would lead nowhere")
	}
	for i := range s.Peers {
		sorting.By(s.Peers[i].AllowedIPs, comparePrefixes)
		s.Peers[i].AllowedIPs = slices.Compact(s.Peers[i].AllowedIPs)
		fs = append(fs, s.peerFaults(i, peers[i])...)
	}
	return append(fs, s.clashes(peers)...)
}

func (s *Settings) peerFaults(i, line int) (fs Faults) {
	add := func(option, text string) { fs = append(fs, &Fault{Line: line, Option: option, Text: text}) }
	p := s.Peers[i]
	switch {
	case p.PublicKey == (wgtypes.Key{}):
		add("PublicKey", "is missing in this [Peer]")
	case s.PrivateKey != (wgtypes.Key{}) && p.PublicKey == s.PrivateKey.PublicKey():
		add("PublicKey", "belongs to this tunnel's own PrivateKey: put the peer's key here")
	}
	if p.Endpoint == (Endpoint{}) {
		add("Endpoint", "is missing in this [Peer]: routerd must know where to send, such as vpn.example.org:51820")
	}
	if len(p.AllowedIPs) == 0 {
		add("AllowedIPs", "is missing in this [Peer]: nothing could pass the tunnel; usual is 0.0.0.0/0, ::/0")
	}
	return fs
}

// clashes finds what WireGuard would silently take from one peer and give to
// another.
func (s *Settings) clashes(lines []int) (fs Faults) {
	keys := map[wgtypes.Key]int{}
	owner := map[netip.Prefix]int{}
	for i, p := range s.Peers {
		if first, ok := keys[p.PublicKey]; ok && p.PublicKey != (wgtypes.Key{}) {
			fs = append(fs, &Fault{Line: lines[i], Option: "PublicKey", Text: fmt.Sprintf("is that of the [Peer] on line %d too: join the two", lines[first])})
		}
		keys[p.PublicKey] = i
		for _, a := range p.AllowedIPs {
			if first, ok := owner[a]; ok {
				fs = append(fs, &Fault{
					Line: lines[i], Option: "AllowedIPs", Value: a.String(),
					Text: fmt.Sprintf("belongs to the [Peer] on line %d too: one network has one peer", lines[first]),
				})
				break
			}
			owner[a] = i
		}
	}
	return fs
}
