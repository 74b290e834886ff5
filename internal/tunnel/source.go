package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/config"
)

// FromConfig decodes the settings of a tunnel of type wireguard: those of its
// wg-quick file, or the inline options. Faults name the section and the UCI
// option (or the file and its line). For type interface it returns nothing.
func FromConfig(t config.Tunnel) (Settings, error) {
	if t.Type == config.TunnelInterface {
		return Settings{}, nil
	}
	where := fmt.Sprintf("tunnel '%s'", t.Name)
	if t.File == "" {
		return inline(t.WireGuard, where)
	}
	s, err := readQuick(t.File)
	if err == nil {
		return s, nil
	}
	if fs := Faults(nil); errors.As(err, &fs) {
		return Settings{}, fs.at(where + ": " + t.File).err()
	}
	return Settings{}, Faults{{Source: where, Option: "config", Value: t.File, Text: cause(err) +
		": name a readable wg-quick file, or give option private_key and the others instead"}}
}

// cause is the innermost word of a failed file operation; the path is said by
// the fault already.
func cause(err error) string {
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// readQuick reads a wg-quick file and looks at who else could.
func readQuick(path string) (Settings, error) {
	// Without O_NONBLOCK a FIFO would hang the daemon.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Settings{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Settings{}, err
	}
	if !info.Mode().IsRegular() {
		return Settings{}, errors.New("is not a file")
	}
	s, err := ParseQuick(f)
	if err != nil {
		return Settings{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		s.Notes = append(s.Notes, Note{
			Option: "config", Warning: true,
			Text: fmt.Sprintf("%s holds a private key and others may read it (mode %04o): chmod 600 %s", path, mode, path),
		})
	}
	return s, nil
}

// inline decodes the options of a UCI section.
func inline(w config.WireGuard, where string) (Settings, error) {
	var fs Faults
	key := func(option, value string, needed bool) (key wgtypes.Key) {
		var err error
		if value != "" {
			key, err = decodeKey(value)
		} else if needed {
			err = errInlineMissing
		}
		if err != nil {
			fs = append(fs, &Fault{Option: option, Text: err.Error()})
		}
		return key
	}
	peer := Peer{
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Keepalive:  cmp.Or(w.PersistentKeepalive, DefaultKeepalive),
	}
	s := Settings{MTU: w.MTU, Addresses: w.Addresses}
	s.PrivateKey = clamp(key("private_key", w.PrivateKey, true))
	peer.PublicKey = key("public_key", w.PublicKey, true)
	if psk := key("preshared_key", w.PresharedKey, false); psk != (wgtypes.Key{}) {
		peer.PresharedKey = &psk
	}
	fs = append(fs, inlineEndpoint(&peer, w.Endpoint)...)
	fs = append(fs, inlineAddresses(w.Addresses)...)
	s.Peers = []Peer{peer}
	if len(fs) == 0 {
		fs = s.complete(0, []int{0}).uci()
	}
	if len(fs) > 0 {
		return Settings{}, fs.at(where)
	}
	return s, nil
}

// errInlineMissing is the text of a fault.
var errInlineMissing = errors.New("is missing: give it, or option config with a wg-quick file")

// inlineEndpoint takes over option endpoint.
func inlineEndpoint(p *Peer, value string) (fs Faults) {
	err := errInlineMissing
	if value != "" {
		p.Endpoint, err = decodeEndpoint(value)
	}
	if err != nil {
		fs = Faults{{Option: "endpoint", Value: shown(value), Text: err.Error()}}
	}
	return fs
}

// inlineAddresses checks option address.
func inlineAddresses(addresses []netip.Prefix) (fs Faults) {
	if len(addresses) == 0 {
		return Faults{{Option: "address", Text: "is missing: it is this router's address inside the tunnel, such as 10.9.0.2/32"}}
	}
	for _, a := range addresses {
		if err := checkAddress(a); err != nil {
			fs = append(fs, &Fault{Option: "address", Value: a.String(), Text: err.Error()})
		}
	}
	return fs
}

// uci names options as UCI does.
func (fs Faults) uci() Faults {
	names := map[string]string{
		"PrivateKey": "private_key", "PublicKey": "public_key", "Address": "address", "MTU": "mtu",
		"Endpoint": "endpoint", "AllowedIPs": "config",
	}
	for _, f := range fs {
		if name, ok := names[f.Option]; ok {
			f.Option = name
		}
	}
	return fs
}
