package main

import "strings"

// batch is a run of go test: one machine for each of its packages.
type batch struct {
	packages []string
	flags    []string // of go test and of the test programs
	must     []string // tests that must have run, lest a name that has changed goes unnoticed
	tools    bool     // they drive ip, nft and the like, which big-endian MIPS does not have
	counted  bool     // time is counted by instructions
}

// args are go test's.
func (b batch) args() []string {
	return append(append([]string{"-json"}, b.packages...), b.flags...)
}

// differing bounds the differential tests of ebpf: for a packet an emulated kernel
// takes some thirty times as long.
var differing = []string{"-differ.messages=1000", "-differ.frames=1000"}

// telling are those tests of ebpf that a kernel or a byte order may fail: all
// programs pass the verifier, treat the same traffic alike, are attached, swapped
// and adopted, and read names as Go does. The others load them anew for each case
// of a table, which is most of half an hour.
var telling = []string{
	"TestVerifierWorkStaysBounded", "TestMixedTrafficIsTreatedAlikeEverywhere", "TestAttachSetsExactlyTheDevicesAskedFor",
	"TestProgramsGoOnAndAreSwapped", "TestTheNextProcessAdoptsWhatItFinds", "TestKernelHashesNamesAsHashNameDoes",
	"TestKernelMatchesNamesAsTheReferenceDoes", "TestFramesGoWhereTheReferenceSays",
}

// batches are what runs in the machines of a target, around a routerd that was
// built for it.
func batches(quick bool, daemon string) []batch {
	programs := batch{packages: []string{"./ebpf"}, flags: differing}
	if quick {
		programs.flags = append([]string{"-run=^(" + strings.Join(telling, "|") + ")$"}, differing...)
		programs.must = telling
	}
	return []batch{
		programs,
		{packages: []string{"./internal/tunnel"}},
		{packages: []string{"./netcfg"}, tools: true},
		{packages: []string{"./test/machine/router"}, flags: []string{"-routerd", daemon}, must: []string{"TestRouter"}, counted: true},
	}
}

// machineFlags are flags of scripts/vm for the machines of a batch.
func machineFlags(figures string, counted bool) []string {
	flags := []string{"--figures", figures}
	if counted {
		flags = append(flags, "--counted")
	}
	return flags
}
