package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/routerd/routerd/internal/catalogue"
)

// checkNetwork allows what netifd and the kernel allow as names of networks
// and devices.
func checkNetwork(s string) error {
	const longest = 63 // netifd sets no limit, devices have at most 15
	bad := func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-@:", c)
	}
	switch {
	case len(s) > longest || strings.ContainsFunc(s, bad):
		return errors.New("is not the name of a network or device, such as lan or br-lan")
	case s == "." || s == "..":
		return errors.New("is not the name of a network or device, such as lan or br-lan")
	}
	return nil
}

// checkAbsolute allows absolute paths.
func checkAbsolute(s string) error {
	if !path.IsAbs(s) || path.Clean(s) == "/" {
		return errors.New("is not an absolute path of a file, such as /etc/routerd/home.conf")
	}
	return nil
}

// checkLabel allows a short line.
func checkLabel(s string) error {
	const longest = 64
	switch {
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8 text")
	case utf8.RuneCountInString(s) > longest:
		return fmt.Errorf("is longer than %d characters", longest)
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("is not a single line of text")
	}
	return nil
}

// checkHostPort gives a check for host:port with both given.
func checkHostPort(example string) func(string) error {
	return func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if err != nil || !isHost(host) || !isPort(port) {
			return errors.New("is not host:port, such as " + example)
		}
		return nil
	}
}

// checkTarget allows what a destination can be checked by.
func checkTarget(s string) error {
	_, err := catalogue.ParseTarget(s)
	return err
}

// checkWeb allows URLs of https and http.
func checkWeb(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL: one of https://, http:// and a host")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("begins with none of https://, http://")
	case !isHost(u.Hostname()):
		return fmt.Errorf("has no valid host: write %s://HOST", u.Scheme)
	case u.User != nil:
		return errors.New("holds a user name or password, which is not supported")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()):
		return errors.New("has a port that is not a number from 1 to 65535")
	case u.Fragment != "":
		return errors.New("has a fragment (#…), which no server ever sees")
	}
	return nil
}

// checkListURL allows what a list can be fetched from.
func checkListURL(s string) error {
	if file, ok := strings.CutPrefix(s, "file://"); ok {
		if checkAbsolute(file) != nil {
			return errors.New("is not file:// and an absolute path, such as file:///etc/routerd/my.list")
		}
		return nil
	}
	err := checkWeb(s)
	if err != nil && !strings.Contains(s, "://") {
		return errors.New("begins with none of https://, http://, file://")
	}
	return err
}

// isPort says whether a string is a port number.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// isHost says whether a string is an address or can be a host's name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	const longest = 253
	if s = strings.TrimSuffix(s, "."); s == "" || len(s) > longest {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel says whether a string can be one part of a host's name.
func isLabel(s string) bool {
	const longest = 63
	bad := func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '-' && c != '_'
	}
	return s != "" && len(s) <= longest && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, bad)
}

// parseClient reads an address, a network or a MAC address.
func parseClient(s string) (Client, error) {
	if mac, err := net.ParseMAC(s); err == nil && len(mac) == 6 {
		if mac[0]&1 != 0 || [6]byte(mac) == ([6]byte{}) {
			return Client{}, errors.New("is not the MAC address of one device")
		}
		return Client{MAC: [6]byte(mac)}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return Client{Prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return Client{}, errors.New("is not an address, a network or a MAC address, such as 192.168.1.40, 192.168.2.0/24 or 02:00:00:aa:bb:cc")
	case p.Addr().Is4In6():
		return Client{}, errors.New("is an IPv4 network written as IPv6: write it like 192.168.2.0/24")
	case p.Masked() != p:
		return Client{}, fmt.Errorf("is an address with a network's length: write %s for that client or %s for the network", p.Addr(), p.Masked())
	}
	return Client{Prefix: p}, nil
}
