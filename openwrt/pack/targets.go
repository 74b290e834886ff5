package pack

import (
	"fmt"
	"slices"
	"strings"
)

// Target is one architecture of OpenWrt's packages, and what scripts/build calls
// the binary that runs on it.
type Target struct {
	Arch  string // as opkg and apk name it
	Build string // GOOS/GOARCH[/variant]
	Usual bool   // packed when no target is named
}

// Targets are all architectures that are packed, those of scripts/build --list. ARM
// without a floating-point unit in its name gets a binary that needs none.
func Targets() []Target {
	return []Target{
		{"aarch64_cortex-a53", "linux/arm64", true},
		{"aarch64_cortex-a72", "linux/arm64", false},
		{"aarch64_cortex-a76", "linux/arm64", false},
		{"aarch64_generic", "linux/arm64", true},
		{"arm_arm1176jzf-s_vfp", "linux/arm/6", false},
		{"arm_arm926ej-s", "linux/arm/5", false},
		{"arm_cortex-a15_neon-vfpv4", "linux/arm/7", false},
		{"arm_cortex-a5_vfpv4", "linux/arm/7", false},
		{"arm_cortex-a7", "linux/arm/7,softfloat", false},
		{"arm_cortex-a7_neon-vfpv4", "linux/arm/7", true},
		{"arm_cortex-a7_vfpv4", "linux/arm/7", false},
		{"arm_cortex-a8_vfpv3", "linux/arm/7", false},
		{"arm_cortex-a9", "linux/arm/7,softfloat", false},
		{"arm_cortex-a9_neon", "linux/arm/7", false},
		{"arm_cortex-a9_vfpv3-d16", "linux/arm/7", false},
		{"i386_pentium-mmx", "linux/386/softfloat", false},
		{"i386_pentium4", "linux/386/sse2", false},
		{"mips64_octeonplus", "linux/mips64/softfloat", false},
		{"mips_24kc", "linux/mips/softfloat", true},
		{"mips_mips32", "linux/mips/softfloat", false},
		{"mipsel_24kc", "linux/mipsle/softfloat", true},
		{"mipsel_74kc", "linux/mipsle/softfloat", false},
		{"mipsel_mips32", "linux/mipsle/softfloat", false},
		{"riscv64_riscv64", "linux/riscv64", false},
		{"riscv64_generic", "linux/riscv64", false},
		{"x86_64", "linux/amd64", true},
	}
}

// Find gives the targets that words name: an architecture of OpenWrt, or what
// scripts/build --list names beside one, for all of its architectures. No words are
// the usual ones.
func Find(words []string) ([]Target, error) {
	var found []Target
	for _, t := range Targets() {
		if len(words) == 0 && t.Usual || slices.Contains(words, t.Arch) || slices.Contains(words, t.Build) {
			found = append(found, t)
		}
	}
	for _, w := range words {
		if !slices.ContainsFunc(found, func(t Target) bool { return t.Arch == w || t.Build == w }) {
			var all []string
			for _, t := range Targets() {
				all = append(all, t.Arch)
			}
			return nil, fmt.Errorf("no target %q: there are %s", w, strings.Join(all, " "))
		}
	}
	return found, nil
}
