package serve

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/test/lab"
)

// WireGuard is `rdlab wireguard FILE`: it makes the WireGuard device that
// FILE (a lab.WireGuardConfig) describes in the network it runs in, in the kernel
// if that can, else in this process, and keeps it until ctx ends.
func WireGuard(ctx context.Context, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read WireGuard settings: %w", err)
	}
	var c lab.WireGuardConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("read WireGuard settings: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU = c.Device, c.MTU
	err = unix.EOPNOTSUPP
	if !c.Userspace {
		err = netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attributes})
	}
	switch {
	case err == nil:
		err = configureKernel(c)
	case errors.Is(err, unix.EOPNOTSUPP):
		var closeDevice func()
		closeDevice, err = userspaceDevice(c)
		if err == nil {
			defer closeDevice()
		}
	}
	if err != nil {
		return fmt.Errorf("make device %s: %w", c.Device, err)
	}
	if err := raiseTunnelDevice(c); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// userspaceDevice runs wireguard-go here; `wg show` finds it by its socket.
func userspaceDevice(c lab.WireGuardConfig) (closeDevice func(), err error) {
	t, err := tun.CreateTUN(c.Device, c.MTU)
	if err != nil {
		return nil, fmt.Errorf("create TUN: %w", err)
	}
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, c.Device+": "))
	settings, err := uapi(c)
	if err != nil {
		d.Close()
		return nil, err
	}
	if err := d.IpcSet(settings); err != nil {
		d.Close()
		return nil, fmt.Errorf("configure: %w", err)
	}
	if err := d.Up(); err != nil {
		d.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
	socket, err := ipc.UAPIOpen(c.Device)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	listener, err := ipc.UAPIListen(c.Device, socket)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	go serveUAPI(d, listener)
	return func() { _ = listener.Close(); d.Close() }, nil
}

// serveUAPI ends when its listener is closed.
func serveUAPI(d *device.Device, listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go d.IpcHandle(c)
	}
}

// uapi is the configuration in WireGuard's own protocol, keys in hexadecimal.
func uapi(c lab.WireGuardConfig) (string, error) {
	var b strings.Builder
	for _, k := range []struct{ key, value string }{
		{"private_key", c.PrivateKey}, {"public_key", c.PeerKey}, {"preshared_key", c.PresharedKey},
	} {
		raw, err := base64.StdEncoding.DecodeString(k.value)
		if err != nil {
			return "", fmt.Errorf("decode %s: %w", k.key, err)
		}
		fmt.Fprintf(&b, "%s=%s\n", k.key, hex.EncodeToString(raw))
		if k.key == "private_key" {
			fmt.Fprintf(&b, "listen_port=%d\n", c.ListenPort)
		}
	}
	if c.Endpoint != "" {
		fmt.Fprintf(&b, "endpoint=%s\n", c.Endpoint)
	}
	fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", c.PersistentKeepalive)
	for _, p := range c.AllowedIPs {
		fmt.Fprintf(&b, "allowed_ip=%s\n", p)
	}
	return b.String(), nil
}

// configureKernel sets up a device of the kernel's WireGuard.
func configureKernel(c lab.WireGuardConfig) error {
	client, err := wgctrl.New()
	if err != nil {
		return fmt.Errorf("open WireGuard: %w", err)
	}
	defer client.Close()
	var keys [3]wgtypes.Key
	for i, text := range []string{c.PrivateKey, c.PeerKey, c.PresharedKey} {
		if keys[i], err = wgtypes.ParseKey(text); err != nil {
			return fmt.Errorf("decode key: %w", err)
		}
	}
	keepalive := time.Duration(c.PersistentKeepalive) * time.Second
	peer := wgtypes.PeerConfig{PublicKey: keys[1], PresharedKey: &keys[2], PersistentKeepaliveInterval: &keepalive}
	if c.Endpoint != "" {
		endpoint, err := netip.ParseAddrPort(c.Endpoint)
		if err != nil {
			return fmt.Errorf("decode endpoint: %w", err)
		}
		peer.Endpoint = net.UDPAddrFromAddrPort(endpoint)
	}
	for _, p := range c.AllowedIPs {
		peer.AllowedIPs = append(peer.AllowedIPs, *ipNet(p))
	}
	err = client.ConfigureDevice(c.Device, wgtypes.Config{
		PrivateKey: &keys[0], ListenPort: &c.ListenPort, Peers: []wgtypes.PeerConfig{peer},
	})
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// raiseTunnelDevice gives the device its addresses, then switches it on: a
// device that is up is ready.
func raiseTunnelDevice(c lab.WireGuardConfig) error {
	l, err := netlink.LinkByName(c.Device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", c.Device, err)
	}
	for _, p := range c.Addresses {
		a := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add address %s to %s: %w", p, c.Device, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("raise device %s: %w", c.Device, err)
	}
	return nil
}

// ipNet is a prefix as package net has it, host part kept.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
