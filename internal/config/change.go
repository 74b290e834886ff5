package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/config/uci"
)

// What changes of the settings fail with, apart from ErrInvalid.
var (
	// errNoDestination: AddRule was given a destination that is not there.
	errNoDestination = errors.New("no such destination")
	// errNoRule: RemoveRule was given a rule that no destination lists.
	errNoRule = errors.New("no destination lists it")
	// ErrTunnelExists: AddTunnel was given a name that is in use.
	ErrTunnelExists = errors.New("there is a tunnel of that name")
)

// AddRule adds a rule to a destination: an address or network to its list
// address, a name to its list domain. A rule that the destination has already
// changes nothing. Nothing is written when the settings would not be valid;
// the error then wraps ErrInvalid.
func AddRule(path, destination, rule string) error {
	env, err := DefaultEnv()
	if err != nil {
		return err
	}
	return addRule(env, path, destination, rule)
}

func addRule(env Env, path, destination, rule string) error {
	parsed, err := env.ParseRule(rule)
	if err != nil {
		return fmt.Errorf("add %w", err)
	}
	list := ruleList(parsed)
	return change(env, path, func(f *uci.File) error {
		s, err := findDestination(f, path, destination)
		if err != nil {
			return err
		}
		if len(sameRules(env, s, list, rule)) > 0 {
			return nil
		}
		return f.AddList(s.Ref, list, parsed.String())
	})
}

// RemoveRule removes a rule from every destination that lists it, however it
// is written there, and names those. A rule that is only part of a service or
// of a file is not found.
func RemoveRule(path, rule string) (removedFrom []string, err error) {
	env, err := DefaultEnv()
	if err != nil {
		return nil, err
	}
	return removeRule(env, path, rule)
}

func removeRule(env Env, path, rule string) (removedFrom []string, err error) {
	err = change(env, path, func(f *uci.File) error {
		var from []string
		for _, ref := range destinationRefs(f) {
			removed, err := removeFrom(env, f, ref, rule)
			if err != nil {
				return err
			}
			if removed {
				from = append(from, ref)
			}
		}
		if len(from) == 0 {
			if _, err := env.ParseRule(rule); err != nil {
				return fmt.Errorf("remove %w", err)
			}
			return fmt.Errorf("remove rule %q: %w as a rule of its own; `routerd why` tells whether it belongs to a service", rule, errNoRule)
		}
		removedFrom = from
		return nil
	})
	if err != nil {
		return nil, err
	}
	return removedFrom, nil
}

// removeFrom removes a rule from one destination.
func removeFrom(env Env, f *uci.File, ref, rule string) (removed bool, err error) {
	for _, list := range []string{"domain", "address"} {
		s, _ := f.Section(ref)
		for _, text := range sameRules(env, s, list, rule) {
			if _, err := f.RemoveList(ref, list, text); err != nil {
				return false, err
			}
			removed = true
		}
	}
	return removed, nil
}

// sameRules gives the values of a list that are the same rule, as they stand.
// Values that are no rule at all match their own text, so that a mistake can
// be removed.
func sameRules(env Env, s *uci.Section, list, rule string) []string {
	o, ok := s.Option(list)
	if !ok {
		return nil
	}
	wanted, wantedErr := env.ParseRule(rule)
	var same []string
	for _, text := range o.Values {
		r, err := env.ParseRule(text)
		if text == rule || err == nil && wantedErr == nil && r == wanted {
			same = append(same, text)
		}
	}
	return same
}

// AddTunnel adds a tunnel whose settings are in a wg-quick file. When there is
// one of that name, replace makes it use the file instead of what it used
// before, other options kept; without replace the error wraps ErrTunnelExists.
// Nothing is written when the settings would not be valid.
func AddTunnel(path, name, configFile string, replace bool) error {
	env, err := DefaultEnv()
	if err != nil {
		return err
	}
	return addTunnel(env, path, name, configFile, replace)
}

func addTunnel(env Env, path, name, configFile string, replace bool) error {
	if err := CheckTunnelName(name); err != nil {
		return fmt.Errorf("add tunnel %q: %w", name, err)
	}
	if err := checkAbsolute(configFile); err != nil {
		return fmt.Errorf("add tunnel %s: file %q %w", name, configFile, err)
	}
	return change(env, path, func(f *uci.File) error {
		s, exists := f.Section(name)
		switch {
		case !exists:
			if _, err := f.AddSection(typeTunnel, name); err != nil {
				return err
			}
			return f.Set(name, "config", configFile)
		case s.Type != typeTunnel:
			return fmt.Errorf("add tunnel %s: a section of type %s has that name; take another one", name, s.Type)
		case !replace:
			return fmt.Errorf("add tunnel %s: %w", name, ErrTunnelExists)
		}
		return useFile(f, s, configFile)
	})
}

// useFile makes an existing tunnel a WireGuard tunnel from a file.
func useFile(f *uci.File, s *uci.Section, configFile string) error {
	name := s.Name
	for _, option := range append(inlineOptions(), "device") {
		if err := f.Delete(name, option); err != nil {
			return err
		}
	}
	if o, ok := s.Option("type"); ok && o.Values[0] != string(TunnelWireGuard) {
		if err := f.Set(name, "type", string(TunnelWireGuard)); err != nil {
			return err
		}
	}
	if o, ok := s.Option("config"); ok && !o.List && o.Values[0] == configFile {
		return nil
	}
	return f.Set(name, "config", configFile)
}

// change edits the settings file and keeps the result only if it is valid.
func change(env Env, path string, edit func(*uci.File) error) error {
	return uci.Edit(path, func(f *uci.File) error {
		before := f.Bytes()
		if err := edit(f); err != nil {
			return err
		}
		if bytes.Equal(before, f.Bytes()) {
			return nil
		}
		_, _, err := parse(path, f, env)
		if err == nil {
			return nil
		}
		// Lines are those of a file that people can look at.
		if _, _, already := Parse(path, before, env); already != nil {
			return fmt.Errorf("nothing was changed, there is an error already: %w", already)
		}
		return fmt.Errorf("nothing was changed, the result would be wrong: %w", err)
	})
}

// findDestination finds a destination by name.
func findDestination(f *uci.File, path, name string) (*uci.Section, error) {
	if s, ok := f.Section(name); ok && s.Type == typeDestination {
		return s, nil
	}
	refs := destinationRefs(f)
	mend := "there is none yet"
	if len(refs) > 0 {
		mend = cmp.Or(didYouMean(name, refs), "there are "+strings.Join(refs, ", "))
	}
	return nil, fmt.Errorf("destination %q: %w in %s; %s", name, errNoDestination, path, mend)
}

// destinationRefs are the references of all destinations.
func destinationRefs(f *uci.File) []string {
	var refs []string
	for _, s := range f.Sections() {
		if s.Type == typeDestination {
			refs = append(refs, s.Ref)
		}
	}
	return refs
}
