package ebpf

import (
	"testing"

	"github.com/cilium/ebpf"
)

// strictAlignment is BPF_F_STRICT_ALIGNMENT: the verifier then holds a program
// to what it demands on machines such as MIPS.
const strictAlignment = 1

// The verifier's work is a router's start-up time: some 40,000 instructions a second,
// the JIT's work included, on a MIPS that executes 250 million (docs/footprint.md).
const (
	maxVerifiedEach = 20_000
	maxVerifiedAll  = 130_000
)

// every program, and whether a router loads it that has Ethernet devices only.
var programs = map[string]bool{
	bpfProgRouterdSteer: true, bpfProgRouterdSteerIp: false,
	bpfProgRouterdLearn: true, bpfProgRouterdLearnIp: false,
	bpfProgRouterdAnswer: true, bpfProgRouterdMatch: true, bpfProgRouterdRecords: true,
	bpfProgRouterdHints: true,
	bpfProgRouterdQuery: true, bpfProgRouterdStream: true, bpfProgRouterdBack: true,
	bpfProgRouterdBypass: true, bpfProgRouterdHello: true, bpfProgRouterdWalk: true, bpfProgRouterdNamed: true,
	bpfProgRouterdGuard: true, bpfProgRouterdGuardIp: false,
}

func TestVerifierWorkStaysBounded(t *testing.T) {
	d := newPlane(t)
	if len(programs) != len(d.spec.programs) {
		t.Errorf("the test knows %d programs, the object has %d", len(programs), len(d.spec.programs))
	}
	all, ether := 0, 0
	for name, needed := range programs {
		d.spec.programs[name].flags |= strictAlignment
		p, err := d.load(name)
		if err != nil {
			t.Errorf("%+v", err)
			continue
		}
		n, size := verified(t, p)
		t.Logf("%-20s %6d instructions, %6d verified", name, size, n)
		if all += n; needed {
			ether += n
		}
		if n > maxVerifiedEach {
			t.Errorf("%s: %d instructions verified, want at most %d", name, n, maxVerifiedEach)
		}
		p.Close()
	}
	t.Logf("%d verified in all, %d where every device has an Ethernet header", all, ether)
	if all > maxVerifiedAll {
		t.Errorf("%d instructions verified in all, want at most %d", all, maxVerifiedAll)
	}
}

func verified(t *testing.T, p *ebpf.Program) (work, size int) {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	n, ok := info.VerifiedInstructions()
	if !ok {
		t.Skip("the kernel does not tell how much it verified (before 5.16)")
	}
	insns, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	return int(n), len(insns)
}
