package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ubusTime bounds one question to netifd.
const ubusTime = 2 * time.Second

// errSilent says that netifd is there and does not answer.
var errSilent = errors.New("netifd does not answer")

// networks has the device that each name from the settings had last. The loop owns it.
type networks map[string]string

// device finds the device of a name. A network that is not found any more, because
// netifd is busy or is started again, keeps the device that it had for as long as there
// is one: what runs over it runs on, and without programs it would run past the rules.
// There may be both a device and an error.
func (n networks) device(ctx context.Context, name string) (string, error) {
	dev, err := device(ctx, name)
	if err == nil {
		n[name] = dev
		return dev, nil
	}
	if _, gone := net.InterfaceByName(n[name]); gone != nil {
		return "", err
	}
	return n[name], err
}

// device finds the device of a name from the settings: that of the netifd
// network of that name, or else the device of that name. The network goes first:
// many routers have a switch port called lan or wan, whose network is br-lan or
// pppoe-wan.
func device(ctx context.Context, name string) (string, error) {
	answer, found, err := network(ctx, name)
	switch {
	case err != nil:
		return "", err
	case found:
		return netifdDevice(name, answer)
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return "", fmt.Errorf("%s is neither a netifd network nor a device", name)
	}
	return name, nil
}

// network asks netifd for the status of a network, if there are both.
func network(ctx context.Context, name string) (answer []byte, found bool, err error) {
	ubus, err := exec.LookPath("ubus")
	if err != nil {
		return nil, false, nil // no OpenWrt
	}
	ctx, cancel := context.WithTimeout(ctx, ubusTime)
	defer cancel()
	// No shell: the name is one argument, and ubus refuses one that is no object.
	answer, err = exec.CommandContext(ctx, ubus, "call", "network.interface."+name, "status").Output()
	if ctx.Err() != nil {
		return nil, false, fmt.Errorf("%w: in %s it did not say what network %s is", errSilent, ubusTime, name)
	}
	return answer, err == nil, nil
}

// netifdDevice reads the answer of ubus' network.interface.NAME status.
func netifdDevice(name string, answer []byte) (string, error) {
	var status struct {
		Up     bool   `json:"up"`
		Device string `json:"device"`
		L3     string `json:"l3_device"`
	}
	if err := json.Unmarshal(answer, &status); err != nil {
		return "", fmt.Errorf("read status of network %s: %w", name, err)
	}
	dev := cmp.Or(status.L3, status.Device)
	switch {
	case dev == "":
		return "", fmt.Errorf("network %s has no device (up: %t)", name, status.Up)
	case len(dev) >= unix.IFNAMSIZ || strings.ContainsFunc(dev, notInDevice):
		return "", fmt.Errorf("status of network %s names no device: %q", name, dev)
	}
	return dev, nil
}

// notInDevice says of characters that the kernel allows in no device's name.
func notInDevice(r rune) bool { return r == '/' || r == ':' || r <= ' ' || r == 0x7f }

// devices finds the devices of several names, each once; what cannot be found
// is told. silent says that netifd does not answer, and what it said before is not known.
func (n networks) devices(ctx context.Context, option string, names []string) (found, problems []string, silent bool) {
	for _, name := range names {
		dev, why := n.device(ctx, name)
		if why != nil {
			problems = append(problems, fmt.Sprintf("option %s: %v", option, why))
		}
		silent = silent || dev == "" && errors.Is(why, errSilent)
		if dev != "" && !slices.Contains(found, dev) {
			found = append(found, dev)
		}
	}
	return found, problems, silent
}
