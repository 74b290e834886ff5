package doctor

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
)

// maxFile bounds what is read of one file.
const maxFile = 256 << 10

// process is one running program.
type process struct {
	name string
	args []string
}

// systemFacts are what is not of the network.
type systemFacts struct {
	now                  time.Time
	totalKiB, availKiB   uint64
	processes            []process
	dnsmasq              bool
	dnsmasqFile          string
	dnsmasqNoDNS, rebind bool
}

func gatherSystem(root string, now time.Time) systemFacts {
	f := systemFacts{now: now, processes: gatherProcesses(root)}
	f.totalKiB, f.availKiB = gatherMemory(root)
	for _, p := range f.processes {
		if p.name == "dnsmasq" {
			f.dnsmasq = true
			f.dnsmasqFile = dnsmasqFile(p.args)
			break
		}
	}
	if f.dnsmasq {
		f.readDnsmasq(root)
	}
	return f
}

// gatherProcesses reads /proc. Those that end meanwhile are left out.
func gatherProcesses(root string) []process {
	var out []process
	dirs, _ := filepath.Glob(filepath.Join(root, "proc", "[0-9]*"))
	for _, dir := range dirs {
		name := readWord(dir, "comm")
		if name == "" {
			continue
		}
		line, _ := config.ReadFile(filepath.Join(dir, "cmdline"), maxFile)
		args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		out = append(out, process{name, args})
	}
	return out
}

// gatherMemory gives MemTotal and MemAvailable; 0 for what is not there.
func gatherMemory(root string) (total, available uint64) {
	text, _ := config.ReadFile(filepath.Join(root, "proc/meminfo"), maxFile)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(fields[1], 10, 64)
		switch fields[0] {
		case "MemTotal:":
			total = n
		case "MemAvailable:":
			available = n
		}
	}
	return total, available
}

// dnsmasqFile finds the configuration that a dnsmasq was started with.
func dnsmasqFile(args []string) string {
	for i, arg := range args {
		if (arg == "-C" || arg == "--conf-file") && i+1 < len(args) {
			return args[i+1]
		}
		for _, prefix := range []string{"--conf-file=", "-C"} {
			if file, ok := strings.CutPrefix(arg, prefix); ok && file != "" {
				return file
			}
		}
	}
	return "/etc/dnsmasq.conf"
}

func (f *systemFacts) readDnsmasq(root string) {
	text, err := config.ReadFile(filepath.Join(root, f.dnsmasqFile), maxFile)
	if err != nil {
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		switch strings.ReplaceAll(strings.TrimSpace(lines.Text()), " ", "") {
		case "port=0":
			f.dnsmasqNoDNS = true
		case "stop-dns-rebind":
			f.rebind = true
		}
	}
}

func judgeDNS(f systemFacts) []control.Finding {
	switch {
	case !f.dnsmasq:
		return []control.Finding{note(topicDNS, "dnsmasq is not running: addresses are learned from the answers of whatever resolver the clients ask through this router, unless they are encrypted",
			"run dnsmasq, or another resolver on this router, and let DHCP name it to the clients")}
	case f.dnsmasqNoDNS:
		return []control.Finding{warn(topicDNS, "dnsmasq answers no DNS (port=0 in "+f.dnsmasqFile+"): what another resolver on this router answers is learned, encrypted answers are not",
			"remove option port '0' from section dnsmasq of /etc/config/dhcp, unless another resolver on this router stands in for it")}
	case f.rebind:
		return []control.Finding{fine(topicDNS, "dnsmasq answers; its rebind protection is on, which is fine: routerd learns no private address either")}
	}
	return []control.Finding{fine(topicDNS, "dnsmasq answers")}
}

// clockFloor is a time that has passed: this code did not exist before it.
func clockFloor() time.Time { return time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC) }

func judgeClock(now time.Time) []control.Finding {
	if floor := clockFloor(); now.Before(floor) {
		return []control.Finding{fault(topicClock, fmt.Sprintf("the clock says %s, which is before %s: certificates look not yet valid and WireGuard peers may refuse handshakes", now.UTC().Format(time.DateOnly), floor.Format(time.DateOnly)),
			"`/etc/init.d/sysntpd restart`, and see that the time server's name resolves; or `date -s 'YYYY-MM-DD HH:MM:SS'`")}
	}
	return []control.Finding{fine(topicClock, "the clock is plausible: "+now.UTC().Format(time.RFC3339))}
}

// lowMemoryKiB is what the daemon and a userspace tunnel may grow by.
const lowMemoryKiB = 16 << 10

func judgeMemory(f systemFacts) []control.Finding {
	text := fmt.Sprintf("%d of %d MiB of memory are available", f.availKiB>>10, f.totalKiB>>10)
	switch {
	case f.totalKiB == 0:
		return []control.Finding{note(topicMemory, "the memory's size cannot be read", "see that /proc is mounted")}
	case f.availKiB < lowMemoryKiB:
		return []control.Finding{warn(topicMemory, text+": a load may end a process", "stop what is not needed, set a lower option max_addresses, prefer `kmod-wireguard` to userspace")}
	}
	return []control.Finding{fine(topicMemory, text)}
}

// checkTunnelFiles looks at who can read the keys.
func checkTunnelFiles(dir string) []control.Finding {
	info, err := os.Stat(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return []control.Finding{fault(topicTunnel, fmt.Sprintf("wg-quick files cannot be looked at: %v", err), "run this as root")}
	}
	var out []control.Finding
	out = appendOpen(out, dir, info, "700")
	files, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			out = appendOpen(out, file, info, "600")
		}
	}
	if len(out) == 0 && len(files) > 0 {
		out = append(out, fine(topicTunnel, "only root can read the wg-quick files in "+dir))
	}
	return out
}

func appendOpen(out []control.Finding, path string, info fs.FileInfo, mode string) []control.Finding {
	if info.Mode().Perm()&0o077 == 0 {
		return out
	}
	return append(out, warn(topicTunnel, fmt.Sprintf("%s is open to others (mode %04o); it holds private keys", path, info.Mode().Perm()), "`chmod "+mode+" "+path+"`"))
}

// readWord reads a file of one word; "" where there is none.
func readWord(root, path string) string {
	text, _ := config.ReadFile(filepath.Join(root, path), maxFile)
	return strings.TrimSpace(string(text))
}
