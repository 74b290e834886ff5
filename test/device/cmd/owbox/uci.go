package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/routerd/routerd/internal/config/uci"
)

// configDir holds the settings files.
const configDir = "/etc/config/"

// errQuiet is a failure that is not told (uci -q).
var errQuiet = errors.New("quiet")

// uciMain is uci(1): get, set, add_list, delete, show, commit and batch. Changes
// are written at once; a commit has nothing left to do.
func uciMain(args []string) error {
	quiet := len(args) > 0 && args[0] == "-q"
	if quiet {
		args = args[1:]
	}
	err := uciCommand(args)
	if err != nil && quiet {
		return errQuiet
	}
	return err
}

func uciCommand(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	switch command := args[0]; {
	case command == "commit":
		return nil
	case command == "batch":
		return uciBatch()
	case len(args) != 2:
		return fmt.Errorf("%s takes one argument", command)
	case command == "get":
		return uciGet(args[1])
	case command == "set", command == "add_list", command == "delete":
		return uciChange(command, args[1])
	default:
		return fmt.Errorf("no command %q", command)
	}
}

// uciBatch runs a command a line; values may stand in single quotes.
func uciBatch() error {
	sc := bufio.NewScanner(os.Stdin)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" {
			continue
		}
		command, rest, _ := strings.Cut(line, " ")
		args := []string{command}
		if rest != "" {
			args = append(args, strings.ReplaceAll(rest, "'", ""))
		}
		if err := uciCommand(args); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return sc.Err()
}

// split takes PACKAGE.SECTION[.OPTION] apart.
func split(ref string) (pkg, section, option string, err error) {
	parts := strings.SplitN(ref, ".", 3)
	if len(parts) < 2 {
		return "", "", "", fmt.Errorf("%q names no section", ref)
	}
	if len(parts) == 3 {
		option = parts[2]
	}
	return parts[0], parts[1], option, nil
}

func uciGet(ref string) error {
	pkg, section, option, err := split(ref)
	if err != nil {
		return err
	}
	f, err := uci.Read(configDir + pkg)
	if err != nil {
		return err
	}
	s, ok := f.Section(section)
	if !ok {
		return errors.New("entry not found")
	}
	if option == "" {
		fmt.Println(s.Type)
		return nil
	}
	o, ok := s.Option(option)
	if !ok {
		return errors.New("entry not found")
	}
	fmt.Println(strings.Join(o.Values, " "))
	return nil
}

func uciChange(command, arg string) error {
	ref, value, _ := strings.Cut(arg, "=")
	pkg, section, option, err := split(ref)
	if err != nil {
		return err
	}
	return uci.Edit(configDir+pkg, func(f *uci.File) error {
		switch {
		case command == "set" && option == "":
			if _, exists := f.Section(section); exists {
				return nil
			}
			_, err := f.AddSection(value, section)
			return err
		case command == "set":
			return f.Set(section, option, value)
		case command == "add_list":
			return f.AddList(section, option, value)
		case option == "":
			return f.DeleteSection(section)
		default:
			return f.Delete(section, option)
		}
	})
}
