package main

import (
	"slices"
	"strconv"
	"strings"
)

// batch is a run of go test in a machine.
type batch struct {
	pkg     string
	flags   []string // of go test and of the test programs
	sub     string   // with --quick, the only subtest of each test
	must    []string // tests that must have run, lest a name that has changed goes unnoticed
	tools   bool     // they drive ip, nft and the like, which big-endian MIPS does not have
	counted bool     // time is counted by instructions, which is twice the work
	memory  int      // MiB that it needs, where the target has less
}

// args are go test's.
func (b batch) args() []string { return append([]string{"-json", b.pkg}, b.flags...) }

// differing bounds the differential tests of ebpf: for a packet an emulated kernel
// takes some thirty times as long.
var differing = []string{"-differ.messages=1000", "-differ.frames=1000"}

// telling are those tests of each package that a kernel or a byte order may fail.
// Of ebpf: all programs pass the verifier, treat the same traffic alike, are
// attached, swapped and adopted, and read names as Go does; the tables of the others
// say again, packet by packet, what the traffic says. Of the next two: what needs the
// kernel's WireGuard, nftables and rules, and is not the same wait for silence once
// more; behind a slash the subtest that must have run. Of the router: its day, without
// the comparison of flow offload's speed.
var telling = map[string][]string{
	"./ebpf": {
		"TestVerifierWorkStaysBounded", "TestMixedTrafficIsTreatedAlikeEverywhere", "TestAttachSetsExactlyTheDevicesAskedFor",
		"TestProgramsGoOnAndAreSwapped", "TestTheNextProcessAdoptsWhatItFinds", "TestKernelHashesNamesAsHashNameDoes",
		"TestKernelMatchesNamesAsTheReferenceDoes", "TestFramesGoWhereTheReferenceSays",
	},
	"./internal/tunnel": {
		"TestKernelTunnelCarriesTrafficAndIsAdopted", "TestChangedBackendReplacesTheDevice", "TestAutoTakesWhatTheKernelHas",
		"TestCountersAreTheDevicesAndCostNoMemory", "TestUserspaceTunnelCarriesTraffic", "TestDriftIsRepaired",
	},
	"./netcfg": {
		"TestMarkedConnectionsCrossTheTunnelOnly/nftables", "TestNothingMarkedLeavesByTheWAN/nftables",
		"TestConnectionBegunOnTheWANIsResetWhenItsAddressBecomesListed/nftables",
		"TestEstablishedConnectionsGoPastTheRules", "TestAFlushHasTheRulesEndWhatBeganElsewhere",
		"TestAnOffloadedConnectionCanBeForgotten", "TestAnOffloadedConnectionLeavesWithItsRoute", "TestTheFlowtableIsMended",
	},
	"./test/machine/router": {"TestRouter", "TestSleepingCostsNoProcessorTime"},
}

// measured is the target on which a quick run measures what the daemon takes of a small
// router: its start, idle, memory. On the others the same daemon is told to work only.
const measured = "mipsel"

// measuring are the tests that only the measured target runs besides.
var measuring = map[string][]string{"./test/machine/router": {"TestUserspaceTunnelStaysSmall"}}

// alike is the target on which a quick run leaves out netcfg: its kernel is as old as
// mipsel's, and netlink's messages look the same.
const alike = "armv7"

// routerMemory is what a router of 64 MiB and the world around it need, MiB: in 64 the
// kernel reads programs from the disk over and over, and does nothing else.
const routerMemory = 96

// mapsMemory is what the tests of ebpf need, MiB: their maps are large, and the kernel
// frees those of one test while the next is at work, late where the machine is busy.
const mapsMemory = 96

// batches are what runs in the machines of a target, around a routerd that was
// built for it.
func batches(quick bool, target, daemon string) []batch {
	all := []batch{
		{pkg: "./ebpf", flags: differing, memory: mapsMemory},
		{pkg: "./internal/tunnel", counted: true},                      // it gives a process two seconds to answer
		{pkg: "./netcfg", tools: true, sub: "nftables", counted: true}, // and this five to packets
		{pkg: "./test/machine/router", flags: []string{"-routerd", daemon, "-counted"}, must: []string{"TestRouter"}, counted: true, memory: routerMemory},
	}
	if !quick {
		return all
	}
	if target == alike {
		all = slices.DeleteFunc(all, func(b batch) bool { return b.pkg == "./netcfg" })
	}
	for i, b := range all {
		if target == measured {
			all[i] = b.only(append(slices.Clone(telling[b.pkg]), measuring[b.pkg]...))
			continue
		}
		all[i] = b.only(telling[b.pkg])
		all[i].flags = append(all[i].flags, "-short")
	}
	return all
}

// only leaves out all tests but these; none: all of them.
func (b batch) only(tests []string) batch {
	if len(tests) == 0 {
		return b
	}
	names := make([]string, len(tests))
	for i, test := range tests {
		names[i], _, _ = strings.Cut(test, "/")
	}
	run := "-run=^(" + strings.Join(names, "|") + ")$"
	b.must = tests
	if b.sub != "" {
		run += "/^" + b.sub + "$" // a test without any runs whole
	}
	b.flags = append([]string{run}, b.flags...)
	return b
}

// machineFlags are flags of scripts/vm for the machines of a batch, of a target that
// has so much memory.
func (b batch) machineFlags(figures string, memory int) []string {
	flags := []string{"--figures", figures}
	if b.counted {
		flags = append(flags, "--counted")
	}
	if b.memory > memory {
		flags = append(flags, "--memory", strconv.Itoa(b.memory))
	}
	return flags
}
