package catalogue

import (
	"net/netip"
	"path"
	"strings"
)

// Detect says in which format a list is written, by the first part of its text
// and by its file name, which may be "". It never gives FormatAuto; where
// nothing speaks for another format it gives FormatPlain.
func Detect(head []byte, name string) Format {
	votes := map[Format]int{}
	for line := range strings.Lines(strings.TrimPrefix(string(head), "\ufeff")) {
		line = strings.TrimSpace(line)
		if line == "payload:" || strings.HasPrefix(line, "payload: ") {
			return FormatClash
		}
		votes[voteOf(line)]++
	}
	if ext := path.Ext(name); (ext == ".yaml" || ext == ".yml") && votes[FormatPlain] == 0 {
		votes[FormatClash]++
	}
	return elected(votes)
}

// elected gives the format with the most lines for it.
func elected(votes map[Format]int) Format {
	// These hold bare names as well, which say nothing: one sign is enough.
	if n := votes[FormatV2fly]; n > 0 && n >= votes[FormatDnsmasq]+votes[FormatHosts]+votes[FormatClash] {
		return FormatV2fly
	}
	best := FormatPlain
	for _, f := range []Format{FormatHosts, FormatDnsmasq, FormatClash} {
		if votes[f] > votes[best] {
			best = f
		}
	}
	return best
}

// voteOf gives the format that a line speaks for, "" for a comment.
func voteOf(line string) Format {
	switch {
	case line == "", line[0] == '#':
		return ""
	case isDnsmasq(line):
		return FormatDnsmasq
	case isClash(line):
		return FormatClash
	case isV2fly(line):
		return FormatV2fly
	case isHosts(line):
		return FormatHosts
	}
	return FormatPlain
}

func isDnsmasq(line string) bool {
	option, value, ok := strings.Cut(line, "=")
	return ok && dnsmasqNames(strings.TrimSpace(option)) && strings.HasPrefix(strings.TrimSpace(value), "/")
}

func isClash(line string) bool {
	if strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "+.") {
		return true
	}
	kind, _, ok := strings.Cut(line, ",")
	return ok && clashKind(kind)
}

func isV2fly(line string) bool {
	for _, p := range []string{"include:", "keyword:", "regexp:"} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	line, _, _ = strings.Cut(line, "#")
	return strings.Contains(line, " @") || strings.Contains(line, " &")
}

func isHosts(line string) bool {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false
	}
	_, err := netip.ParseAddr(fields[0])
	return err == nil
}
