package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/routerd/routerd/internal/config/uci"
	"github.com/routerd/routerd/internal/sorting"
)

// errNoTunnel is wrapped where a tunnel is named that is not in the settings.
var errNoTunnel = errors.New("no such tunnel")

// RemoveTunnel removes a tunnel, also from the destinations that name it, and
// gives the wg-quick file that it used ("" where its settings were inline). A
// destination that named no other tunnel uses every tunnel afterwards.
func RemoveTunnel(path, name string) (file string, err error) {
	err = changeTunnel(path, name, func(f *uci.File, s *uci.Section) error {
		if o, ok := s.Option("config"); ok && !o.List {
			file = o.Values[0]
		}
		for _, ref := range destinationRefs(f) {
			if _, err := f.RemoveList(ref, "tunnel", name); err != nil {
				return err
			}
		}
		return f.DeleteSection(name)
	})
	if err != nil {
		return "", err
	}
	return file, nil
}

// EnableTunnel switches a tunnel on or off.
func EnableTunnel(path, name string, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	return changeTunnel(path, name, func(f *uci.File, _ *uci.Section) error { return f.Set(name, "enabled", value) })
}

// PreferTunnel gives a tunnel the highest rank, the others keep their order.
func PreferTunnel(path, name string) error {
	const step = 10
	return changeTunnel(path, name, func(f *uci.File, _ *uci.Section) error {
		names := tunnelsByRank(f)
		names = append([]string{name}, slices.DeleteFunc(names, func(n string) bool { return n == name })...)
		for i, n := range names {
			if err := f.Set(n, "priority", strconv.Itoa((i+1)*step)); err != nil {
				return err
			}
		}
		return nil
	})
}

// tunnelsByRank are the names of all tunnels, the preferred one first.
func tunnelsByRank(f *uci.File) []string {
	rank := map[string]int{}
	var names []string
	for _, s := range f.Sections() {
		if s.Type != typeTunnel || s.Name == "" {
			continue
		}
		rank[s.Name] = defaultPriority
		if o, ok := s.Option("priority"); ok {
			if n, err := strconv.Atoi(o.Values[0]); err == nil {
				rank[s.Name] = n
			}
		}
		names = append(names, s.Name)
	}
	sorting.By(names, func(a, b string) int { return cmp.Compare(rank[a], rank[b]) })
	return names
}

// AttachTunnel adds a tunnel that is a device of somebody else's: a device's
// name or a netifd network. The error wraps ErrTunnelExists when the name is in
// use.
func AttachTunnel(path, name, device string) error {
	env, err := DefaultEnv()
	if err != nil {
		return err
	}
	if err := CheckTunnelName(name); err != nil {
		return fmt.Errorf("add tunnel %q: %w", name, err)
	}
	return change(env, path, func(f *uci.File) error {
		if s, exists := f.Section(name); exists {
			if s.Type != typeTunnel {
				return fmt.Errorf("add tunnel %s: a section of type %s has that name; take another one", name, s.Type)
			}
			return fmt.Errorf("add tunnel %s: %w", name, ErrTunnelExists)
		}
		if _, err := f.AddSection(typeTunnel, name); err != nil {
			return err
		}
		return errors.Join(f.Set(name, "type", string(TunnelInterface)), f.Set(name, "device", device))
	})
}

// changeTunnel edits a tunnel that must be there.
func changeTunnel(path, name string, edit func(*uci.File, *uci.Section) error) error {
	env, err := DefaultEnv()
	if err != nil {
		return err
	}
	return change(env, path, func(f *uci.File) error {
		s, ok := f.Section(name)
		if !ok || s.Type != typeTunnel {
			return fmt.Errorf("tunnel %q: %w in %s", name, errNoTunnel, path)
		}
		return edit(f, s)
	})
}
