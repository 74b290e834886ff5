package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // apk's second format
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// archive packs members as opkg's packages do.
func archive(t *testing.T, members ...Member) []byte {
	t.Helper()
	out, err := tarGzip(true, members...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func member(name, content string) Member {
	return Member{tar.Header{Name: name}, []byte(content)}
}

func testIPK(t *testing.T, control string) []byte {
	t.Helper()
	return archive(t, member("./debian-binary", "2.0\n"),
		Member{tar.Header{Name: "./control.tar.gz"}, archive(t, member("./control", control))},
		Member{tar.Header{Name: "./data.tar.gz"}, archive(t, member("./etc/x", "x"))})
}

func TestOpkgIndexHasEachPackagesControlSizeAndSum(t *testing.T) {
	file := testIPK(t, "Package: x\nVersion: 1\nDescription: first line\n second line\n")
	got, err := OpkgIndex([]string{"x_1_all.ipk"}, func(string) ([]byte, error) { return file, nil })
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	want := "Package: x\nVersion: 1\nFilename: x_1_all.ipk\nSize: " + strconv.Itoa(len(file)) + "\nSHA256sum: " + hex.EncodeToString(sum[:]) +
		"\nDescription: first line\n second line\n\n"
	if string(got) != want {
		t.Errorf("the index is\n%s, want\n%s", got, want)
	}
}

func testAPK(t *testing.T, info string) (file, control []byte) {
	t.Helper()
	control, err := tarGzip(false, member(".PKGINFO", info))
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(control), archive(t, member("etc/x", "x"))...), control
}

const testInfo = "pkgname = x\npkgver = 1-r1\narch = noarch\nsize = 9\ndepend = a\ndepend = b\n"

func TestAPKIndexNamesPackagesByTheSumOfTheirControl(t *testing.T) {
	file, control := testAPK(t, testInfo)
	index, err := APKIndex("x86_64", []string{"x.apk"}, func(string) ([]byte, error) { return file, nil }, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	members, err := readGzip(bytes.NewReader(index))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := Pick(members, "APKINDEX")
	sum := sha1.Sum(control)
	for _, want := range []string{
		"C:Q1" + base64.StdEncoding.EncodeToString(sum[:]) + "\n", "P:x\nV:1-r1\nA:x86_64\nS:" + strconv.Itoa(len(file)), "D:a b\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the index lacks %q:\n%s", want, text)
		}
	}
}

func TestSignedAPKIndexCarriesARightSignature(t *testing.T) {
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := testAPK(t, testInfo)
	index, err := APKIndex("x86_64", []string{"x.apk"}, func(string) ([]byte, error) { return file, nil }, key, "feed.rsa.pub")
	if err != nil {
		t.Fatal(err)
	}
	members, used, err := readStream(index)
	if err != nil {
		t.Fatal(err)
	}
	signature, ok := Pick(members, ".SIGN.RSA.feed.rsa.pub")
	sum := sha1.Sum(index[used:])
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA1, sum[:], signature); !ok || err != nil {
		t.Errorf("the signature is there: %t, and right: %v", ok, err)
	}
}

func TestFeedWritesIndexesSignaturesAndSums(t *testing.T) {
	dir := signedFeed(t)
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	for _, name := range []string{"ipk/x86_64/Packages", "ipk/x86_64/Packages.gz", "ipk/x86_64/Packages.sig", "apk/x86_64/APKINDEX.tar.gz", "apk/x86_64/x-1-r1.apk"} {
		if err != nil || !strings.Contains(string(out), name+": OK") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	packed, index := load(t, filepath.Join(dir, "ipk/x86_64/Packages.gz")), load(t, filepath.Join(dir, "ipk/x86_64/Packages"))
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, index) {
		t.Errorf("Packages.gz holds another text than Packages: %v", err)
	}
}

// signedFeed makes a feed of one package for each manager, signed.
func signedFeed(t *testing.T) (dir string) {
	t.Helper()
	dir, keys := t.TempDir(), t.TempDir()
	for _, sub := range []string{"ipk/x86_64", "apk/x86_64"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	apkFile, _ := testAPK(t, testInfo)
	write(t, filepath.Join(dir, "ipk/x86_64/x_1_all.ipk"), testIPK(t, "Package: x\n"))
	write(t, filepath.Join(dir, "apk/x86_64/x-1-r1.apk"), apkFile)
	if err := WriteKey(filepath.Join(keys, "feed")); err != nil {
		t.Fatal(err)
	}
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	raw := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	write(t, filepath.Join(keys, "apk.rsa"), raw)
	if err := Feed(FeedOptions{Dir: dir, USignKey: filepath.Join(keys, "feed"), APKKey: filepath.Join(keys, "apk.rsa")}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenPackagesAreRefused(t *testing.T) {
	noControl := archive(t, member("./debian-binary", "2.0\n"))
	for _, file := range [][]byte{nil, []byte("no gzip"), noControl, noControl[:20]} {
		if _, err := ReadIPK(file); err == nil {
			t.Errorf("%.20q is taken for a package of opkg's", file)
		}
		if _, err := ReadAPK(file); err == nil {
			t.Errorf("%.20q is taken for a package of apk's", file)
		}
	}
}

func FuzzReadAPK(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(_ *testing.T, file []byte) { _, _ = ReadAPK(file) })
}

func TestTargetsAreFoundByBothNames(t *testing.T) {
	for words, want := range map[string]string{
		"x86_64":                           "x86_64",
		"linux/mips/softfloat":             "mips_24kc mips_mips32",
		"linux/arm64":                      "aarch64_cortex-a53 aarch64_cortex-a72 aarch64_cortex-a76 aarch64_generic",
		"":                                 "aarch64_cortex-a53 aarch64_generic arm_cortex-a7_neon-vfpv4 mips_24kc mipsel_24kc x86_64",
		"mipsel_24kc linux/mips/softfloat": "mips_24kc mips_mips32 mipsel_24kc",
	} {
		found, err := Find(strings.Fields(words))
		var names []string
		for _, f := range found {
			names = append(names, f.Arch)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("Find(%q) is %q, %v; want %q", words, got, err, want)
		}
	}
	if _, err := Find([]string{"vax"}); err == nil || !strings.Contains(err.Error(), `no target "vax"`) {
		t.Errorf("error %v", err)
	}
}
