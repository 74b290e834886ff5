package pack

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The programs that scripts/package calls, as short as they can be: what is built is
// the text "new", and what is packed is what the binary says.
const (
	fakeGo = `#!/bin/bash
case $1 in
env) echo go9.9 ;;
build) cp fake/pack "$3" ;;
install) cp "${GOBIN%/*/*}/fake/nfpm" "$GOBIN/" ;;
esac
`
	fakePack = `#!/bin/bash
case $1 in
targets) echo "x86_64 linux/amd64"; echo "mips_24kc linux/mips/softfloat" ;;
stage) mkdir -p build/package/stage; echo "ipk $5 $3.ipk" ;;
index) touch build/indexed ;;
esac
`
	fakeNFPM = `#!/bin/bash
cp "$5" "build/packed-$(basename "$7")"
`
	fakeBuild = `#!/bin/bash
[[ $3 != "${FAILS:-none}" ]] || exit 1
echo new >"$2"
`
)

// script is a tree in which scripts/package runs with programs that are not real.
func script(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"scripts/package": read(t, "../../scripts/package"), "scripts/lib.sh": read(t, "../../scripts/lib.sh"),
		"scripts/build": fakeBuild, "fake/pack": fakePack, "fake/nfpm": fakeNFPM, ".cache/tools/go": fakeGo,
		"go.mod": "go 1.1\n", "tools/package/go.mod": "", "internal/cli/version.go": "const release = \"1.2.3\"\n",
		// What a run left that ended too early.
		"build/package/bin/routerd-linux-amd64": "old", "build/package/bin/routerd-linux-amd64.done": "",
		"build/package/bin/routerd-linux-mips-softfloat": "old",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPackagesHoldWhatThisRunHasBuilt(t *testing.T) {
	root := script(t)
	if out, err := exec.Command(filepath.Join(root, "scripts/package")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, arch := range []string{"x86_64", "mips_24kc"} {
		if got := read(t, filepath.Join(root, "build/packed-"+arch+".ipk")); got != "new\n" {
			t.Errorf("%s holds %q", arch, got)
		}
	}
}

func TestNothingIsPackedAfterABuildThatFailed(t *testing.T) {
	root := script(t)
	cmd := exec.Command(filepath.Join(root, "scripts/package"))
	cmd.Env = append(os.Environ(), "FAILS=linux/mips/softfloat")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("it ended well:\n%s", out)
	}
	for _, name := range []string{"build/packed-mips_24kc.ipk", "build/indexed"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			t.Errorf("there is %s:\n%s", name, out)
		}
	}
}

// Whoever reads one of the two tables of architectures may take a word of it to the
// other script.
func TestEveryTargetOfABuildIsPackedAndTheOtherWayRound(t *testing.T) {
	out, err := exec.Command("../../scripts/build", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var built, packed []string
	for line := range strings.Lines(string(out)) {
		built = append(built, strings.Join(strings.Fields(line), " "))
	}
	for _, target := range Targets() {
		packed = append(packed, target.Arch+" "+target.Build)
	}
	slices.Sort(built)
	slices.Sort(packed)
	if diff := cmp.Diff(built, packed); diff != "" {
		t.Errorf("-scripts/build +pack:\n%s", diff)
	}
}
