// Command owbox stands in for programs of OpenWrt that Debian has none of, in
// tests: uci, procd and its control, the firewall's names. It does what routerd's
// package uses of them, by their documented behaviour.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// socket is procd's.
const socket = "/var/run/procd.sock"

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "owbox" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	programs := map[string]func([]string) error{"uci": uciMain, "procd": procdMain, "procctl": procctlMain, "ubus": ubusMain}
	run, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "owbox has no program %q\n", name)
		os.Exit(2)
	}
	if err := run(args); err != nil {
		if err != errQuiet {
			fmt.Fprintln(os.Stderr, name+":", err)
		}
		os.Exit(1)
	}
}
