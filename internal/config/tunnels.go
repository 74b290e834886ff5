package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/config/uci"
	"github.com/routerd/routerd/internal/owned"
)

// defaultPriority is that of a tunnel without option priority.
const defaultPriority = 10

// inlineOptions are those that stand in place of a wg-quick file.
func inlineOptions() []string {
	return []string{"private_key", "address", "mtu", "public_key", "preshared_key", "endpoint", "persistent_keepalive"}
}

// tunnelName checks a tunnel's name.
func (r *reader) tunnelName(s *uci.Section) {
	if err := CheckTunnelName(s.Name); err != nil {
		r.section(s, err.Error(), "")
	}
}

// CheckTunnelName allows names that make a device's name with rd- before them
// and are not taken by another path.
func CheckTunnelName(name string) error {
	const longest = 12 // rd-NAME has at most 15 characters, the kernel's limit
	bad := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' }
	switch {
	case name == "" || len(name) > longest || strings.ContainsFunc(name, bad):
		return fmt.Errorf("the name of a tunnel has 1 to %d characters of a–z, 0–9 and _", longest)
	case name == "direct" || name == "block":
		return fmt.Errorf("the name %s is that of a path that always exists", name)
	}
	return nil
}

// tunnel reads a section of type tunnel.
func (r *reader) tunnel(s *uci.Section) Tunnel {
	t := Tunnel{Name: s.Name, Enabled: true, Type: TunnelWireGuard, Backend: BackendAuto, Priority: defaultPriority}
	w := &t.WireGuard
	got := r.decode(s, []field{
		boolField("enabled", &t.Enabled),
		choiceField("type", &t.Type, TunnelWireGuard, TunnelInterface),
		checkedField("device", &t.Device, checkNetwork),
		checkedField("config", &t.File, checkAbsolute),
		secretField("private_key", &w.PrivateKey),
		addressField("address", &w.Addresses),
		intField("mtu", &w.MTU, 576, 9000), // package tunnel knows more
		textField("public_key", &w.PublicKey),
		secretField("preshared_key", &w.PresharedKey),
		checkedField("endpoint", &w.Endpoint, checkHostPort("vpn.example.net:51820")),
		secondsField("persistent_keepalive", &w.PersistentKeepalive, 1, 65535),
		choiceField("backend", &t.Backend, BackendAuto, BackendKernel, BackendUserspace),
		intField("priority", &t.Priority, 0, 65535),
		boolField("standby", &t.Standby),
	})
	if t.Type == TunnelInterface {
		r.interfaceOptions(s, got)
	} else {
		r.wireGuardOptions(s, got)
	}
	r.tunnels[s.Name] = t.Enabled
	return t
}

// interfaceOptions checks which options go with type interface.
func (r *reader) interfaceOptions(s *uci.Section, got given) {
	if _, ok := got["device"]; !ok {
		r.section(s, "a tunnel of type interface needs option device", "write: option device 'NAME' with a device or network that exists, such as awg0")
	}
	if v, ok := got["standby"]; ok && v.text != "0" {
		v.fail("does not go with type interface: routerd cannot bring up a device that somebody else makes", "remove it")
	}
	for _, name := range append(inlineOptions(), "config", "backend") {
		if v, ok := got[name]; ok {
			v.fail("does not go with type interface: somebody else sets that device up", "remove it, or write option type 'wireguard'")
		}
	}
}

// wireGuardOptions checks which options go with type wireguard: a file or the
// settings themselves.
func (r *reader) wireGuardOptions(s *uci.Section, got given) {
	if v, ok := got["device"]; ok {
		v.fail("does not go with type wireguard: routerd makes the device "+owned.Device(s.Name)+" itself", "remove it, or write option type 'interface'")
	}
	file, hasFile := got["config"]
	inline := slices.DeleteFunc(inlineOptions(), func(name string) bool {
		_, ok := got[name]
		return !ok
	})
	switch {
	case hasFile && len(inline) > 0:
		file.fail("stands beside "+strings.Join(inline, ", ")+": it is either a wg-quick file or options, not both", "remove one of them")
	case !hasFile && len(inline) == 0:
		r.section(s, "has neither option config, a wg-quick file, nor the settings themselves",
			"write: option config '/etc/routerd/"+s.Name+".conf', or private_key, address, public_key and endpoint")
	}
}

// checkTunnels checks tunnels against each other and section main.
func (r *reader) checkTunnels(c *Config, sections []*uci.Section) {
	if most := c.Main.MarkMask.Tunnels(); len(c.Tunnels) > most {
		mend := "remove one"
		if most < owned.DefaultMask.Tunnels() {
			mend += ", or give mark_mask four bits"
		}
		r.section(sections[most], fmt.Sprintf("is tunnel %d, but mark_mask 0x%08x can tell %d apart",
			most+1, uint32(c.Main.MarkMask), most), mend)
	}
	owner := map[string]string{}
	for i, t := range c.Tunnels {
		device := t.Device
		if t.Type == TunnelWireGuard {
			device = owned.Device(t.Name)
		}
		if device == "" {
			continue // told already
		}
		r.checkDevice(c, sections[i], t, device, owner[device])
		owner[device] = t.Name
	}
}

// checkDevice checks the device of one tunnel; other is the tunnel that has it
// already, or "".
func (r *reader) checkDevice(c *Config, s *uci.Section, t Tunnel, device, other string) {
	v := value{r: r, section: s.Ref, option: "device", text: device, line: s.Lines[0]}
	if o, ok := s.Option("device"); ok {
		v.line = o.Lines[0]
	}
	switch {
	case other != "":
		v.fail(fmt.Sprintf("is the device of tunnel %s too: each tunnel needs its own", other), "")
	case t.Type == TunnelInterface && owned.IsDevice(device):
		v.fail("begins with "+owned.DevicePrefix+", as only devices do that routerd makes", "name the device that somebody else makes")
	case slices.Contains(c.Main.LAN, device):
		v.fail("is also in list lan of section main: a tunnel cannot be the clients' side", "")
	case device == c.Main.WAN:
		v.fail("is also option wan of section main: a tunnel cannot be the direct path", "")
	}
}

// addressField takes the addresses of a tunnel's device: with or without a
// length, host bits allowed.
func addressField(name string, dst *[]netip.Prefix) field {
	return field{name: name, list: true, set: func(v value) {
		if a, err := netip.ParseAddr(v.text); err == nil && a.Zone() == "" {
			*dst = append(*dst, netip.PrefixFrom(a, a.BitLen()))
			return
		}
		p, err := netip.ParsePrefix(v.text)
		if err != nil {
			v.fail("is not an address, such as 10.9.0.2/32 or fd00::2/128", "")
			return
		}
		*dst = append(*dst, p)
	}}
}
