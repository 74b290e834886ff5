package demo

import (
	"fmt"
	"strings"

	"github.com/routerd/routerd/test/lab"
)

// Hints is what to try in a lab that was left running. The program is routerd's
// path as its user types it.
func Hints(labName, program string) string {
	exec := "./scripts/lab exec --name " + labName + " "
	router, client := exec+lab.Router+" ", exec+lab.Client+" "
	all := []struct{ what, command string }{
		{"how routerd is", router + program + " status"},
		{"live connections", router + program + " flows --follow"},
		{"what has changed", router + program + " events"},
		{"what it writes", router + "cat " + logFile},
		{"why a name goes where", router + program + " why www.binance.com --client 192.168.1.10"},
		{"open a listed name", client + "curl https://www.kraken.com/"},
		{"open one that is not", client + "curl https://www.shopping.example/"},
		{"mine for 10 seconds", client + "rdlab client stratum stratum.braiins.com:3333"},
		{"list one more name", router + program + " add bank.example --to exchanges"},
		{"packets at ISP and exit", "./scripts/lab counts --name " + labName},
		{"kill it: steering goes on", router + "sh -c 'kill -9 $(cat " + pidFile + ")'"},
		{"and start it again", router + "sh " + startFile},
		{"killed, take it out of the kernel", router + program + " cleanup"},
		{"a shell on the router", "./scripts/lab shell " + lab.Router + " --name " + labName},
		{"end everything", "./scripts/lab down --name " + labName},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Lab %s and routerd go on running. To try, from the root of the repository:\n\n", labName)
	for _, x := range all {
		fmt.Fprintf(&b, "  # %s\n  %s\n", x.what, x.command)
	}
	return b.String()
}
