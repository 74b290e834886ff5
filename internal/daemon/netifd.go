package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ubusTime bounds one question to netifd.
const ubusTime = 2 * time.Second

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
		return nil, false, fmt.Errorf("netifd did not say in %s what network %s is", ubusTime, name)
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
// is told.
func devices(ctx context.Context, option string, names []string) (found, problems []string) {
	seen := map[string]bool{}
	for _, name := range names {
		dev, err := device(ctx, name)
		if err != nil {
			problems = append(problems, fmt.Sprintf("option %s: %v", option, err))
			continue
		}
		if !seen[dev] {
			seen[dev] = true
			found = append(found, dev)
		}
	}
	return found, problems
}
