package ebpf

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
)

// specOf is a map as the object has it.
func specOf(m *ebpf.MapSpec) *mapSpec {
	if m == nil {
		return nil
	}
	return &mapSpec{m.Name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, specOf(m.InnerMap)}
}

func TestImageSaysWhatTheObjectSays(t *testing.T) {
	object, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	image, err := loadImage()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*mapSpec{}
	for name, m := range object.Maps {
		want[name] = specOf(m)
	}
	if diff := cmp.Diff(want, image.maps); diff != "" {
		t.Error(diff)
	}
	if len(object.Programs) != len(image.programs) {
		t.Errorf("%d programs, the object has %d", len(image.programs), len(object.Programs))
	}
	for name, p := range object.Programs {
		got := image.programs[name]
		if got == nil || got.kind != p.Type || p.License != image.license {
			t.Errorf("%s: %+v, license %s", name, got, image.license)
			continue
		}
		compareCode(t, name, p.Instructions, got)
	}
}

func compareCode(t *testing.T, name string, want asm.Instructions, got *programSpec) {
	t.Helper()
	for i := range want {
		if want[i].IsLoadFromMap() {
			want[i].Constant = int64(slices.Index(got.maps, want[i].Reference()))
		}
	}
	if !bytes.Equal(marshalled(t, want), got.code) {
		t.Errorf("%s: the code differs", name)
	}
}

func marshalled(t *testing.T, code asm.Instructions) []byte {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		order = binary.BigEndian
	}
	var raw bytes.Buffer
	if err := code.Marshal(&raw, order); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func TestBrokenImagesAreRefused(t *testing.T) {
	code := string(idle())
	for _, c := range []struct{ image, want string }{
		{"", "has no first line"},
		{"{}", "has no first line"},
		{"{\n", "unexpected end of JSON input"},
		{`{"Maps":7}` + "\n", "cannot unmarshal"},
		{`{"Programs":[{"Name":"a","Size":24}]}` + "\n" + code, "program a has 24 octets, 16 are left"},
		{`{"Programs":[{"Name":"a","Size":12}]}` + "\n" + code, "program a has 12 octets"},
		{`{"Programs":[{"Name":"a","Size":8}]}` + "\n" + code, "8 octets belong to no program"},
	} {
		if _, err := parseImage([]byte(c.image)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want …%s…", c.image, err, c.want)
		}
	}
	if c, err := parseImage([]byte(`{"Programs":[{"Name":"a","Size":16}]}` + "\n" + code)); err != nil || !bytes.Equal(c.programs["a"].code, idle()) {
		t.Errorf("%+v, %v", c, err)
	}
}

// packed compresses as folder image does.
func packed(t *testing.T, raw string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnImageIsUnpackedByItsColumns(t *testing.T) {
	got, err := unpackImage(packed(t, "{}\n"+"oO"+"rR"+"ffFF"+"ccccCCCC"))
	if err != nil || string(got) != "{}\n"+"orffcccc"+"ORFFCCCC" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := unpackImage(packed(t, "{}\n")); err != nil || string(got) != "{}\n" {
		t.Errorf("without code: %q, %v", got, err)
	}
	for what, image := range map[string]string{
		"cut short":  packedImage[:len(packedImage)/2],
		"empty":      "",
		"not packed": "{}\n",
		"odd":        packed(t, "{}\n"+"oOrRffFFccccCCC"),
	} {
		if got, err := unpackImage(image); err == nil {
			t.Errorf("%s: %q was taken", what, got)
		}
	}
}

func BenchmarkLoadImage(b *testing.B) {
	for b.Loop() {
		if _, err := loadImage(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCodeIsLinkedWithMapsThatAreThere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a map")
	}
	m, err := makeMap(&mapSpec{Name: "linked", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	code := func(fd int) []byte {
		return marshalled(t, asm.Instructions{
			asm.LoadImm(asm.R1, 1<<40, asm.DWord), asm.LoadMapPtr(asm.R2, fd), asm.LoadImm(asm.R3, 7, asm.DWord), asm.Return(),
		})
	}
	const missing = "instruction 2 loads map 1, which is not there"
	for name, c := range map[string]struct {
		maps []string
		code []byte
		want string
	}{
		"there":           {[]string{"other", "linked"}, code(m.FD()), ""},
		"not made":        {[]string{"linked", "other"}, nil, missing},
		"out of the list": {[]string{"linked"}, nil, missing},
	} {
		p := &programSpec{code: code(1), maps: c.maps}
		linked, err := p.linked(map[string]*ebpf.Map{"linked": m})
		if !bytes.Equal(linked, c.code) || err != nil != (c.want != "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: % x, %v", name, linked, err)
		}
		if !bytes.Equal(p.code, code(1)) {
			t.Errorf("%s: the image's own code was written to", name)
		}
	}
}

func TestRefusedProgramTellsWhatTheVerifierSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: loads a BPF program")
	}
	spec := &programSpec{name: "without_result", kind: ebpf.SchedCLS}
	_, err := loadProgram(spec, idle()[8:], "Dual BSD/GPL") // exit with no r0
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) || !errors.Is(err, syscall.EACCES) || !strings.Contains(strings.Join(refused.Log, "\n"), "R0 !read_ok") {
		t.Errorf("%v", err)
	}
	if text := explain(err).Error(); !strings.Contains(text, "the kernel's verifier refused the program") {
		t.Error(text)
	}
	if _, err := loadProgram(&programSpec{name: "of_no_kind", kind: 9999}, idle(), "GPL"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v", err)
	}
	if _, err := makeMap(&mapSpec{Name: "without_key", Type: ebpf.Hash, ValueSize: 4, MaxEntries: 1}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v", err)
	}
}
