package tunnel

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// The functions here decode single values. Their errors say what is allowed
// and never repeat the value.

// decodeKey reads a key in base64.
func decodeKey(value string) (wgtypes.Key, error) {
	const want = "a WireGuard key is 44 characters of base64 ending in '='"
	raw, err := base64.StdEncoding.Strict().DecodeString(value)
	switch {
	case err != nil && len(value) == 44:
		return wgtypes.Key{}, errors.New("not base64: " + want)
	case err != nil || len(raw) != wgtypes.KeyLen:
		return wgtypes.Key{}, fmt.Errorf("wrong length: %s, here are %d", want, len(value))
	}
	key := wgtypes.Key(raw)
	if key == (wgtypes.Key{}) {
		return wgtypes.Key{}, errors.New("is all zeros, which is no key: make one with `wg genkey`")
	}
	return key, nil
}

// clamp is what Curve25519 makes of a private key; the kernel and wireguard-go
// store that form, and a comparison with theirs must not see a difference.
func clamp(k wgtypes.Key) wgtypes.Key {
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// decodeAddress reads an address of the device: ADDRESS or ADDRESS/BITS.
func decodeAddress(value string) (netip.Prefix, error) {
	const want = "allowed is ADDRESS or ADDRESS/BITS, such as 10.9.0.2/32 or fd00::2/128"
	p, err := parsePrefix(value)
	if err != nil {
		return netip.Prefix{}, errors.New("not an address: " + want)
	}
	return p, checkAddress(p)
}

// checkAddress says why the device cannot have an address.
func checkAddress(p netip.Prefix) error {
	a := p.Addr()
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return errors.New("cannot be the address of a device: use the one that the tunnel's provider gave you")
	}
	return nil
}

// decodeAllowed reads one network of allowed-ips.
func decodeAllowed(value string) (netip.Prefix, error) {
	p, err := parsePrefix(value)
	if err != nil {
		return netip.Prefix{}, errors.New("not a network: allowed is ADDRESS/BITS, such as 0.0.0.0/0 or ::/0")
	}
	return p.Masked(), nil
}

// parsePrefix takes an address as the network of that one address, and
// IPv4-mapped IPv6 as IPv4, as wg(8) does.
func parsePrefix(value string) (netip.Prefix, error) {
	if !strings.Contains(value, "/") {
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errors.New("not an address")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("not a network of IPv4")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// decodeMTU reads an MTU in bytes.
func decodeMTU(value string) (int, error) {
	mtu, err := strconv.Atoi(value)
	if err != nil || mtu < minMTU || mtu > maxMTU {
		return 0, fmt.Errorf("not an MTU: allowed is %d to %d; leave the option out for the right one", minMTU, maxMTU)
	}
	return mtu, nil
}

// decodePort reads a UDP port; 0 is allowed where any port will do.
func decodePort(value string, lowest int) (uint16, error) {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || int(port) < lowest {
		return 0, fmt.Errorf("not a port: allowed is %d to 65535", lowest)
	}
	return uint16(port), nil
}

// decodeKeepalive reads a number of seconds, or off.
func decodeKeepalive(value string) (time.Duration, error) {
	if strings.EqualFold(value, "off") {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, errors.New("not a number of seconds: allowed is 0 to 65535, or off; 25 suits most")
	}
	return time.Duration(seconds) * time.Second, nil
}

// decodeEndpoint reads host:port; an IPv6 address stands in brackets.
func decodeEndpoint(value string) (Endpoint, error) {
	const want = "allowed is HOST:PORT, such as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"
	if addr, err := netip.ParseAddr(value); err == nil && addr.Is6() {
		return Endpoint{}, errors.New("an IPv6 address needs brackets and a port: " + want)
	}
	i := strings.LastIndexByte(value, ':')
	if i < 0 {
		return Endpoint{}, errors.New("has no port: " + want)
	}
	port, err := decodePort(value[i+1:], 1)
	if err != nil {
		return Endpoint{}, err
	}
	host := value[:i]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() {
			return Endpoint{}, errors.New("no IPv6 address in the brackets: " + want)
		}
		host = inner
	}
	return endpointOf(host, port, want)
}

// endpointOf checks the host of an endpoint.
func endpointOf(host string, port uint16, want string) (Endpoint, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nameEndpoint(host, port, want)
	}
	addr = addr.Unmap()
	switch {
	case addr.Zone() != "":
		return Endpoint{}, errors.New("an address with a zone cannot be used: " + want)
	case addr.IsUnspecified() || addr.IsMulticast():
		return Endpoint{}, errors.New("is not the address of a host: " + want)
	}
	return Endpoint{Host: addr.String(), Port: port}, nil
}

// hostName is what names of hosts are made of. The length of labels is checked apart:
// to compile counted repetitions takes every start on a slow processor tens of
// milliseconds.
var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$`)

// isLong says whether a label is longer than names may have them.
func isLong(label string) bool { return len(label) > 63 }

// nameEndpoint checks a name as the resolver will want it: RFC 1123 labels, the
// underscore let through, the whole up to 253 characters.
func nameEndpoint(host string, port uint16, want string) (Endpoint, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	// A name of digits and dots only is an address that was mistyped.
	if len(host) > 253 || slices.ContainsFunc(strings.Split(host, "."), isLong) || !hostName.MatchString(host) || strings.Trim(host, "0123456789.") == "" {
		return Endpoint{}, errors.New("neither a name nor an address: " + want +
			"; write an international name in its xn-- form")
	}
	return Endpoint{Host: host, Port: port}, nil
}
