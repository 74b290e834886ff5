package pack

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// signify is OpenBSD's own program, whose format usign has.
const signify = "signify-openbsd"

func TestSignifyAcceptsOurSignatures(t *testing.T) {
	dir := t.TempDir()
	path, message := filepath.Join(dir, "key"), filepath.Join(dir, "Packages")
	if err := WriteKey(path); err != nil {
		t.Fatal(err)
	}
	key, err := ParseSigningKey(load(t, path))
	if err != nil {
		t.Fatal(err)
	}
	write(t, message, []byte("Package: routerd\n"))
	write(t, message+".sig", key.Sign([]byte("Package: routerd\n")))
	verify := func() ([]byte, error) {
		return exec.Command(signify, "-V", "-p", path+".pub", "-x", message+".sig", "-m", message).CombinedOutput()
	}
	if out, err := verify(); err != nil {
		t.Errorf("signify refuses: %v: %s", err, out)
	}
	write(t, message, []byte("Package: other\n"))
	if out, err := verify(); err == nil || !strings.Contains(string(out), "verification failed") {
		t.Errorf("signify takes another text: %v: %s", err, out)
	}
}

func TestAKeyIsWrittenOnceAndForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := WriteKey(path); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the secret key has mode %v, %v", fi.Mode(), err)
	}
	if err := WriteKey(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a key that is there is replaced: %v", err)
	}
}

func TestKeysOfSignifyAreRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if out, err := exec.Command(signify, "-G", "-n", "-p", path+".pub", "-s", path+".sec").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	secret, err := os.ReadFile(path + ".sec")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseSigningKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	_, theirs, _ := strings.Cut(string(public), "\n")
	_, ours, _ := strings.Cut(string(key.Public()), "\n")
	if theirs != ours {
		t.Errorf("the public key is %q, want %q", ours, theirs)
	}
}

func TestBrokenKeysAreRefused(t *testing.T) {
	key, err := NewSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := string(key.Secret())
	for _, bad := range []string{
		"", "no comment\n", comment + "x\n!!!\n", comment + "x\nRWQ=\n", string(key.Public()),
		strings.Replace(good, "RWRCSwAAAAA", "RWRCSwAAACo", 1), good[:len(good)-6] + "AAA==\n",
	} {
		if _, err := ParseSigningKey([]byte(bad)); !errors.Is(err, ErrKey) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	if _, err := NewSigningKey(bytes.NewReader(nil)); err == nil {
		t.Error("a key is made without randomness")
	}
}

func FuzzParseSigningKey(f *testing.F) {
	f.Add([]byte(comment + "x\nRWRCSwAAAAA=\n"))
	f.Fuzz(func(_ *testing.T, file []byte) { _, _ = ParseSigningKey(file) })
}
