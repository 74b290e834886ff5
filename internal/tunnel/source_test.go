package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/config"
)

func inlineTunnel() config.Tunnel {
	return config.Tunnel{
		Name: "home", Type: config.TunnelWireGuard,
		WireGuard: config.WireGuard{
			PrivateKey: keyA, PublicKey: keyC, PresharedKey: keyD, Endpoint: "vpn.example.org:51820",
			Addresses: prefixes("10.9.0.2/32"), MTU: 1380,
		},
	}
}

func TestInlineSettingsAndFileMeanTheSame(t *testing.T) {
	text := strings.Replace(goodFile, ", fd00:9::2/128", "", 1)
	file := filepath.Join(t.TempDir(), "home.conf")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	fromFile, err := FromConfig(config.Tunnel{Name: "home", Type: config.TunnelWireGuard, File: file})
	must(t, err)
	fromUCI, err := FromConfig(inlineTunnel())
	must(t, err)
	if !fromFile.Equal(fromUCI) {
		t.Errorf("file %v, UCI %v", fromFile, fromUCI)
	}
}

func TestInlineKeepalive(t *testing.T) {
	c := inlineTunnel()
	c.WireGuard.PersistentKeepalive = 10 * time.Second
	s, err := FromConfig(c)
	must(t, err)
	if s.Peers[0].Keepalive != 10*time.Second {
		t.Errorf("keepalive is %v", s.Peers[0].Keepalive)
	}
}

func TestInterfaceHasNoSettings(t *testing.T) {
	if _, err := FromConfig(config.Tunnel{Name: "other", Type: config.TunnelInterface, Device: "awg0"}); err != nil {
		t.Error(err)
	}
}

func TestInlineFaultsNameSectionAndOption(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.WireGuard)
		want   string
	}{
		{"no private key", func(w *config.WireGuard) { w.PrivateKey = "" }, "tunnel 'home': private_key: is missing: give it, or option config with a wg-quick file"},
		{"bad private key", func(w *config.WireGuard) { w.PrivateKey = keyA[:43] }, "tunnel 'home': private_key: wrong length: a WireGuard key is 44 characters of base64 ending in '=', here are 43"},
		{"bad preshared key", func(w *config.WireGuard) { w.PresharedKey = "x" }, "tunnel 'home': preshared_key: wrong length: a WireGuard key is 44 characters of base64 ending in '=', here are 1"},
		{"no public key", func(w *config.WireGuard) { w.PublicKey = "" }, "tunnel 'home': public_key: is missing: give it, or option config with a wg-quick file"},
		{"own public key", func(w *config.WireGuard) { w.PublicKey = keyOf(t, keyA).PublicKey().String() }, "tunnel 'home': public_key: belongs to this tunnel's own PrivateKey: put the peer's key here"},
		{"no endpoint", func(w *config.WireGuard) { w.Endpoint = "" }, "tunnel 'home': endpoint: is missing: give it, or option config with a wg-quick file"},
		{"bad endpoint", func(w *config.WireGuard) { w.Endpoint = "a b:1" }, "tunnel 'home': endpoint 'a b:1': neither a name nor an address: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820; write an international name in its xn-- form"},
		{"key as endpoint", func(w *config.WireGuard) { w.Endpoint = keyD }, "tunnel 'home': endpoint '(hidden)': has no port: allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{"no address", func(w *config.WireGuard) { w.Addresses = nil }, "tunnel 'home': address: is missing: it is this router's address inside the tunnel, such as 10.9.0.2/32"},
		{"bad address", func(w *config.WireGuard) { w.Addresses = prefixes("224.0.0.1/32") }, "tunnel 'home': address '224.0.0.1/32': cannot be the address of a device: use the one that the tunnel's provider gave you"},
		{"MTU", func(w *config.WireGuard) { w.MTU, w.Addresses = 1000, prefixes("fd00::1/128") }, "tunnel 'home': mtu: is 1000, but IPv6 needs at least 1280: raise it, or remove the IPv6 address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := inlineTunnel()
			c.change(&conf.WireGuard)
			_, err := FromConfig(conf)
			if err == nil || err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestFileFaultsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.conf")
	must(t, os.WriteFile(bad, []byte(strings.Replace(goodFile, "MTU = 1380", "PostUp = reboot", 1)), 0o600))
	fifo := filepath.Join(dir, "fifo.conf")
	must(t, syscall.Mkfifo(fifo, 0o600))
	for file, want := range map[string]string{
		bad:         "tunnel 'home': " + bad + ": line 6: PostUp: routerd runs no commands from a tunnel file; remove line 6",
		dir + "/no": "tunnel 'home': config '" + dir + "/no': no such file or directory: name a readable wg-quick file, or give option private_key and the others instead",
		dir:         "tunnel 'home': config '" + dir + "': is not a file: name a readable wg-quick file, or give option private_key and the others instead",
		fifo:        "tunnel 'home': config '" + fifo + "': is not a file: name a readable wg-quick file, or give option private_key and the others instead",
	} {
		_, err := FromConfig(config.Tunnel{Name: "home", Type: config.TunnelWireGuard, File: file})
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
		if fs := Faults(nil); !errors.As(err, &fs) {
			t.Errorf("error is a %T", err)
		}
	}
}

func TestFileThatOthersMayReadLeavesAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "home.conf")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o660: true} {
		must(t, os.WriteFile(file, []byte(goodFile), 0o600))
		must(t, os.Chmod(file, mode))
		s, err := FromConfig(config.Tunnel{Name: "home", Type: config.TunnelWireGuard, File: file})
		must(t, err)
		last := s.Notes[len(s.Notes)-1]
		if last.Warning != warned || warned && !strings.Contains(last.Text, "chmod 600 "+file) {
			t.Errorf("mode %o: last note is %+v", mode, last)
		}
	}
}
