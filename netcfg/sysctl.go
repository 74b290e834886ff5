package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/routerd/routerd/internal/owned"
)

// procNet is relative to the thread's network namespace.
const procNet = "/proc/sys/net"

// Values of rp_filter (Documentation/networking/ip-sysctl.rst).
const (
	rpStrict = "1"
	rpLoose  = "2"
)

func sysctlPath(parts ...string) string {
	return filepath.Join(append([]string{procNet}, parts...)...)
}

func readSysctl(parts ...string) (string, error) {
	b, err := os.ReadFile(sysctlPath(parts...))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(value string, parts ...string) error {
	// #nosec: the kernel's own file, its mode does not count.
	return os.WriteFile(sysctlPath(parts...), []byte(value), 0o644)
}

// applySysctls loosens the reverse-path filter of every path's device where it
// is strict: the answers come from addresses whose own route is the WAN's, and
// strict filtering drops them. With a resolver, lo accepts local sources. Devices
// that are a path's no longer, and lo, get back what devices get by default.
func applySysctls(d Desired, links linkTable, before []string) (report, error) {
	var rep report
	wanted := map[string]bool{}
	for _, p := range d.Paths {
		if _, ok := links[p.Device]; !ok {
			continue
		}
		wanted[p.Device] = true
		r, err := loosen(p.Device)
		rep.merge(r)
		if err != nil {
			return rep, err
		}
	}
	if d.ResolverPort != 0 {
		wanted[loopback] = true
		r, err := acceptLocal()
		rep.merge(r)
		if err != nil {
			return rep, err
		}
	}
	var gone []string
	for _, dev := range before {
		if !wanted[dev] {
			gone = append(gone, dev)
		}
	}
	r, err := restoreSysctls(gone)
	rep.merge(r)
	return rep, err
}

// loosen sets a device's filter to loose when it is strict in effect: the
// kernel takes the greater one of the device's and of all's.
func loosen(dev string) (report, error) {
	var rep report
	own, err := readSysctl("ipv4/conf", dev, "rp_filter")
	if errors.Is(err, fs.ErrNotExist) {
		return rep, nil // gone meanwhile
	}
	if err != nil {
		return rep, fmt.Errorf("read rp_filter of %s: %w", dev, err)
	}
	all, err := readSysctl("ipv4/conf/all/rp_filter")
	if err != nil {
		return rep, fmt.Errorf("read rp_filter of all: %w", err)
	}
	if max(own, all) != rpStrict {
		return rep, nil
	}
	if err := writeSysctl(rpLoose, "ipv4/conf", dev, "rp_filter"); err != nil {
		return rep, fmt.Errorf("set rp_filter of %s: %w", dev, err)
	}
	rep.note("set net.ipv4.conf.%s.rp_filter=%s", dev, rpLoose)
	return rep, nil
}

// restoreSysctls puts a loose filter back to conf.default's value, which is
// what the device was made with. That is a rule instead of a memory: somebody
// who had set a device of theirs to loose by hand has to do so again.
func restoreSysctls(devices []string) (report, error) {
	var rep report
	def, err := readSysctl("ipv4/conf/default/rp_filter")
	if err != nil {
		return rep, fmt.Errorf("read rp_filter of default: %w", err)
	}
	for _, dev := range devices {
		if dev == loopback {
			r, err := refuseLocal()
			rep.merge(r)
			if err != nil {
				return rep, err
			}
			continue
		}
		own, err := readSysctl("ipv4/conf", dev, "rp_filter")
		if err != nil || own != rpLoose || own == def {
			continue // gone, or not as we set it
		}
		if err := writeSysctl(def, "ipv4/conf", dev, "rp_filter"); err != nil {
			return rep, fmt.Errorf("set rp_filter of %s: %w", dev, err)
		}
		rep.note("set net.ipv4.conf.%s.rp_filter=%s", dev, def)
	}
	return rep, nil
}

// checkForwarding reports forwarding that is off. It is the system's to set.
func checkForwarding(d Desired) report {
	var rep report
	if isSysctl("0", "ipv4/ip_forward") {
		rep.warn("forwarding of IPv4 is off, clients reach nothing; set net.ipv4.ip_forward=1")
	}
	if !d.IPv6 {
		return rep
	}
	if isSysctl("0", "ipv6/conf/all/forwarding") {
		rep.warn("forwarding of IPv6 is off, clients reach nothing over it; " +
			"set net.ipv6.conf.all.forwarding=1 or option ipv6 to 0")
	}
	for _, p := range d.Paths {
		if owned.IsDevice(p.Device) && p.IPv6 && isSysctl("1", "ipv6/conf", p.Device, "disable_ipv6") {
			rep.warn("IPv6 is disabled on %s; set net.ipv6.conf.%s.disable_ipv6=0", p.Device, p.Device)
		}
	}
	return rep
}

// isSysctl says whether a setting is there and has that value.
func isSysctl(value string, parts ...string) bool {
	v, err := readSysctl(parts...)
	return err == nil && v == value
}
