package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArchiveIsWhatCpioReads(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("init", 0o755, []byte("program"))
	a.file("a/b/c", 0o600, []byte("12345"))
	a.file("a/b/d", 0o644, nil)
	a.device("dev/console", 0o600, 5, 1)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cpio := exec.Command("cpio", "--extract", "--quiet", "--make-directories", "--no-preserve-owner")
	cpio.Dir, cpio.Stdin = dir, &b
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"init": "program", "a/b/c": "12345", "a/b/d": ""} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]os.FileMode{"init": 0o755, "a/b/c": 0o600, "a": os.ModeDir | 0o755, "dev/console": os.ModeDevice | os.ModeCharDevice | 0o600} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if fi.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, fi.Mode(), want)
		}
	}
}

func TestTargetsAreFoundByName(t *testing.T) {
	for _, name := range Names() {
		got, err := Find(name)
		if err != nil || got.Name != name {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := Find("sparc"); err == nil || !strings.Contains(err.Error(), `"sparc"`) || !strings.Contains(err.Error(), "mips64el") {
		t.Errorf("error %v names neither what was asked nor what there is", err)
	}
	if len(Names()) != 8 {
		t.Errorf("%d targets, want 8", len(Names()))
	}
}

func TestArgumentsShareWhatTheJobNeeds(t *testing.T) {
	c := Cache{Dir: "/cache", Root: "/repo,1"}
	target, err := Find("amd64-6.1")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Memory: 77, Shares: []string{"/tmp/x"}}
	args := c.arguments(target, c.job(target, []string{"true"}, o), o, "/tmp/initrd")
	text := strings.Join(args, " ")
	for _, want := range []string{
		"-m 77 ", "path=/repo,,1 ", "path=/tmp/x ", "file=/cache/amd64-6_1/tools.ext4 ", "-initrd /tmp/initrd", "console=ttyS0", "virtio-9p-pci,fsdev=share1",
		"snapshot=on", "readonly=on",
	} {
		if !strings.Contains(text+" ", want) {
			t.Errorf("arguments lack %q: %s", want, text)
		}
	}
	big, err := Find("mips")
	if err != nil {
		t.Fatal(err)
	}
	if args := c.arguments(big, c.job(big, []string{"true"}, Options{}), Options{}, "i"); slices.Contains(args, "-drive") {
		t.Errorf("a machine without tools has a disk: %q", args)
	}
}

func TestTimeIsCountedWhereThatIsAskedFor(t *testing.T) {
	target, err := Find("mipsel")
	if err != nil {
		t.Fatal(err)
	}
	for _, counted := range []bool{false, true} {
		o := Options{Counted: counted}
		j := Cache{}.job(target, []string{"true"}, o)
		args := Cache{}.arguments(target, j, o, "i")
		if slices.Contains(args, "-icount") != counted || (j.Timer == "MIPS") != counted {
			t.Errorf("counted %t: timer %q, arguments %q", counted, j.Timer, args)
		}
	}
}

func TestModulesThatFindTheToolsBeginWithTheirBus(t *testing.T) {
	for bus, want := range map[string]string{"pci": "virtio_pci", "device": "virtio_mmio", "ccw": "virtio_rng"} {
		if got := earlyNames(bus); got[0] != want || !slices.Contains(got, "9pnet_virtio") {
			t.Errorf("%s: %q, want %s first", bus, got, want)
		}
	}
}

func TestAKernelThatDropsAnOptionIsNamed(t *testing.T) {
	dir := t.TempDir()
	want, got := filepath.Join(dir, "want"), filepath.Join(dir, "got")
	for name, text := range map[string]string{want: "# why\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\n\n", got: "CONFIG_A=y\n# CONFIG_B is not set\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := sameConfig(want, got)
	if err == nil || !strings.Contains(err.Error(), "CONFIG_B=y") || strings.Contains(err.Error(), "CONFIG_A") || strings.Contains(err.Error(), "CONFIG_C") {
		t.Errorf("error %v, want one that names CONFIG_B alone", err)
	}
}

func TestAnExcerptKeepsBothEnds(t *testing.T) {
	lines := make([]string, 200)
	for i := range lines {
		lines[i] = fmt.Sprintf("line %d\n", i)
	}
	got := strings.Split(excerpt(lines), "\n")
	if len(got) != mostSaid+2 || got[1] != "    line 0" || got[mostSaid/2+1] != "    … 120 lines …" || got[mostSaid+1] != "    line 199" {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

func TestReportOfATest(t *testing.T) {
	r := Report{Target: "mipsel", Kernel: "6.1.0"}
	err := r.Read(strings.NewReader(`{"Action":"output","Package":"p","Test":"TestA","Output":"    x_test.go:1: figure hook clsact\n"}
{"Action":"output","Package":"p","Output":"figure jit on\n"}
{"Action":"output","Package":"p","Output":"figure ratio 0.97\n"}
{"Action":"output","Package":"p","Output":"figure ratio none\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    x_test.go:2: 5 s, at most 4.8 are allowed\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"Action":"output","Package":"q","Output":"panic: no such kernel\n"}
{"Action":"fail","Package":"q"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Results(strings.NewReader(`{"Status":0,"Total":51200,"Peak":20480,"Work":1500}` + "\n" + `{"Status":0,"Total":51200,"Peak":30720,"Work":2500}`)); err != nil {
		t.Fatal(err)
	}
	r.Require("TestA", "TestB", "TestC", "TestD")
	const failed = "mipsel: failed: p TestB\n        x_test.go:2: 5 s, at most 4.8 are allowed\n" +
		"mipsel: package broke down: q\n    panic: no such kernel\nmipsel: was not there: TestD\n"
	whole := Report{Target: "mipsel", Kernel: "6.1.0", Hook: "tcx", JIT: "off", Ratio: "1", Run: 1, Skipped: 1, Failures: []string{"o TestZ"}}
	whole.Add(r)
	if got := whole.Line(); got != "mipsel\t6.1.0\tclsact\ton\t3\t3\t2\t0\t0\t-\t0.97" || !strings.HasPrefix(whole.Summary(), "mipsel: failed: o TestZ\n"+failed) {
		t.Errorf("together with others: %q\n%s", got, whole.Summary())
	}
	want := "mipsel\t6.1.0\tclsact\ton\t2\t3\t1\t0\t4\t30 of 50 MiB\t0.97"
	if d := cmp.Diff(want, r.Line()); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
	if got := r.Summary(); got != failed {
		t.Errorf("summary %q", got)
	}
	if r.OK() {
		t.Error("it is said to be fine")
	}
	if empty := (Report{Target: "x"}); empty.OK() || !strings.Contains(empty.Summary(), "no test was run") {
		t.Error("a report without tests is fine")
	}
}
