package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// staticNodes makes the devices of modules that are loaded when somebody opens
// their device, /dev/net/tun above all: a system makes them when it starts, from
// what depmod wrote of its modules (kmod-static-nodes(8)).
func staticNodes() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("ask for the kernel's version: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "modules.devname"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // this kernel has no modules: its devices are there
	}
	if err != nil {
		return err
	}
	for _, n := range parseNodes(string(raw)) {
		path := filepath.Join("/dev", n.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		err := unix.Mknod(path, n.mode|0o600, int(unix.Mkdev(n.major, n.minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	return nil
}

// node is a device that modules.devname names.
type node struct {
	name         string // below /dev
	mode         uint32 // S_IFCHR or S_IFBLK
	major, minor uint32
}

// parseNodes reads lines such as "tun net/tun c10:200".
func parseNodes(text string) []node {
	var all []node
	for line := range linesOf(text) {
		var module string
		var kind rune
		var n node
		if _, err := fmt.Sscanf(line, "%s %s %c%d:%d", &module, &n.name, &kind, &n.major, &n.minor); err != nil {
			continue // a comment
		}
		n.mode = map[rune]uint32{'c': unix.S_IFCHR, 'b': unix.S_IFBLK}[kind]
		all = append(all, n)
	}
	return all
}
