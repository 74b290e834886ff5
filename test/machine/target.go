package machine

import (
	"fmt"
	"slices"
	"strings"
)

// Target is one kind of machine.
type Target struct {
	Name string
	// Arch is what scripts/cross takes: GOARCH, with a variant behind a slash.
	Arch string
	// Debian is the architecture of Debian's packages; "" where it has none.
	Debian string
	// Series and Flavour are the first and the last part of the version of
	// Debian's kernel; Flavour is "" where the kernel is built from source.
	Series, Flavour string
	// QEMU is the emulator, and Package the Debian package that has it.
	QEMU, Package string
	// Args are what the emulator needs for this kind beside the usual.
	Args []string
	// Console is the kernel's name of the serial line.
	Console string
	// Bus is the end of the names of QEMU's virtio devices.
	Bus string
	// Memory is what a machine has unless told otherwise, MiB.
	Memory int
	// Timer is the clock event device without which a kernel whose time is counted is
	// no use (docs/machines.md, traps); "" where any will do.
	Timer string
}

// Targets lists every kind, cheapest routers first.
func Targets() []Target {
	serial := []string{"-serial", "chardev:console"}
	// The 24Kc that QEMU emulates finds 16 pairs of pages without the kernel's help,
	// and a program that uses a few more is ten times slower in one run than in the
	// next. The 34Kf finds 64, and is nearer to what routers have (the 1004Kc of an
	// MT7621 is several 34Kc).
	malta := func(cpu string) []string { return append([]string{"-M", "malta", "-cpu", cpu}, serial...) }
	virt := func(cpu string) []string { return append([]string{"-M", "virt", "-cpu", cpu}, serial...) }
	return []Target{
		{
			Name: "mipsel", Arch: "mipsle/softfloat", Debian: "mipsel", Series: "6.1", Flavour: "4kc-malta",
			QEMU: "qemu-system-mipsel", Package: "qemu-system-mips", Args: malta("34Kf"), Console: "ttyS0", Bus: "pci", Memory: 64, Timer: "MIPS",
		},
		{
			Name: "mips", Arch: "mips/softfloat", Series: "6.12",
			QEMU: "qemu-system-mips", Package: "qemu-system-mips", Args: malta("34Kf"), Console: "ttyS0", Bus: "pci", Memory: 64, Timer: "MIPS",
		},
		{
			Name: "mips64el", Arch: "mips64le/softfloat", Debian: "mips64el", Series: "6.12", Flavour: "5kc-malta",
			QEMU: "qemu-system-mips64el", Package: "qemu-system-mips", Args: malta("MIPS64R2-generic"), Console: "ttyS0", Bus: "pci", Memory: 128, Timer: "MIPS",
		},
		{
			Name: "armv7", Arch: "arm/7", Debian: "armhf", Series: "6.1", Flavour: "armmp",
			QEMU: "qemu-system-arm", Package: "qemu-system-arm", Args: virt("cortex-a15"), Console: "ttyAMA0", Bus: "device", Memory: 128,
		},
		{
			Name: "arm64", Arch: "arm64", Debian: "arm64", Series: "6.12", Flavour: "arm64",
			QEMU: "qemu-system-aarch64", Package: "qemu-system-arm", Args: virt("cortex-a53"), Console: "ttyAMA0", Bus: "device", Memory: 160,
		},
		{
			Name: "amd64-6.1", Arch: "amd64", Debian: "amd64", Series: "6.1", Flavour: "amd64",
			QEMU: "qemu-system-x86_64", Package: "qemu-system-x86", Args: serial, Console: "ttyS0", Bus: "pci", Memory: 160,
		},
		{
			Name: "amd64-6.12", Arch: "amd64", Debian: "amd64", Series: "6.12", Flavour: "amd64",
			QEMU: "qemu-system-x86_64", Package: "qemu-system-x86", Args: serial, Console: "ttyS0", Bus: "pci", Memory: 160,
		},
		{
			Name: "s390x", Arch: "s390x", Debian: "s390x", Series: "6.1", Flavour: "s390x",
			QEMU: "qemu-system-s390x", Package: "qemu-system-misc",
			Args:    []string{"-M", "s390-ccw-virtio", "-device", "sclpconsole,chardev=console"},
			Console: "ttyS0", Bus: "ccw", Memory: 160,
		},
	}
}

// Find gives the target of a name.
func Find(name string) (Target, error) {
	all := Targets()
	i := slices.IndexFunc(all, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Target{}, fmt.Errorf("no machine is called %q: %s", name, strings.Join(Names(), ", "))
	}
	return all[i], nil
}

// Names lists the names of all targets.
func Names() []string {
	var names []string
	for _, t := range Targets() {
		names = append(names, t.Name)
	}
	return names
}

// file is the target's name where a name of a file is wanted.
func (t Target) file() string { return strings.ReplaceAll(t.Name, ".", "_") }
