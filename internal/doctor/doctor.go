// Package doctor looks for what keeps routerd from working on a router and says
// how to mend it: kernel, modules, firewall, DNS, clock, other steering tools.
// It only looks: what has to be tried is tried in a network namespace of its
// own. Facts are gathered first and judged by pure functions after.
package doctor

import (
	"context"
	"time"

	"github.com/routerd/routerd/internal/control"
)

// Options say where to look.
type Options struct {
	ConfigFile string
	TunnelDir  string // of wg-quick files
	BPFDir     string
	Socket     string // the daemon's; "" does not ask it
	// Root is the root of the file system; "/" but in tests.
	Root string
	// Now is the clock that is judged.
	Now func() time.Time
}

// Run does every check, with or without a daemon, and gives the findings of
// one topic together. It never fails: what cannot be looked at is a finding.
func Run(ctx context.Context, o Options) []control.Finding {
	settings, mask := checkSettings(o.ConfigFile)
	network := gatherNetwork(o.Root)
	system := gatherSystem(o.Root, o.Now())
	var all []control.Finding
	slow := ""
	if o.Socket != "" {
		daemon := askDaemon(ctx, o.Socket)
		all = append(all, judgeDaemon(daemon)...)
		slow = daemon.slow()
	}
	all = append(all, settings...)
	all = append(all, checkTunnelFiles(o.TunnelDir)...)
	all = append(all, judgeKernel(gatherKernel(o.Root, o.BPFDir))...)
	all = append(all, judgeFirewall(network)...)
	all = append(all, judgeOffload(network, slow)...)
	all = append(all, judgeOthers(network, system.processes, mask)...)
	all = append(all, judgeDNS(system)...)
	all = append(all, judgeClock(system.now)...)
	all = append(all, judgeMemory(system)...)
	return all
}

// The topics of findings.
const (
	topicDaemon   = "daemon"
	topicSettings = "settings"
	topicTunnel   = "tunnel"
	topicKernel   = "kernel"
	topicModules  = "modules"
	topicFirewall = "firewall"
	topicOffload  = "offload"
	topicBypass   = "bypass"
	topicDNS      = "dns"
	topicClock    = "clock"
	topicMemory   = "memory"
)

func fine(topic, text string) control.Finding {
	return control.Finding{Topic: topic, Level: control.LevelOK, Text: text}
}

func note(topic, text, mend string) control.Finding {
	return control.Finding{Topic: topic, Level: control.LevelNote, Text: text, Mend: mend}
}

func warn(topic, text, mend string) control.Finding {
	return control.Finding{Topic: topic, Level: control.LevelWarning, Text: text, Mend: mend}
}

func fault(topic, text, mend string) control.Finding {
	return control.Finding{Topic: topic, Level: control.LevelError, Text: text, Mend: mend}
}
