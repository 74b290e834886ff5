package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // apk's second format names packages by it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// OpkgIndex makes the text of Packages for packages by their file names: each
// one's control file with its file name, size and SHA-256 put in before the
// description, which has several lines.
func OpkgIndex(names []string, read func(name string) ([]byte, error)) ([]byte, error) {
	var out bytes.Buffer
	for _, name := range names {
		file, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", name, err)
		}
		p, err := ReadIPK(file)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", name, err)
		}
		control, ok := Pick(p.Control, "control")
		if !ok {
			return nil, fmt.Errorf("index %s: no file control", name)
		}
		sum := sha256.Sum256(file)
		own := fmt.Sprintf("Filename: %s\nSize: %d\nSHA256sum: %s\n", name, len(file), hex.EncodeToString(sum[:]))
		text := strings.TrimRight(string(control), "\n") + "\n"
		before, description, found := strings.Cut(text, "Description:")
		out.WriteString(before + own)
		if found {
			out.WriteString("Description:" + description)
		}
		out.WriteString("\n")
	}
	return out.Bytes(), nil
}

// Gzip packs a text, the same way each time.
func Gzip(text []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if _, err := z.Write(text); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

// apkFields are the lines of .PKGINFO that an index repeats, and its letter for
// each.
func apkFields() map[string]string {
	return map[string]string{
		"pkgname": "P", "pkgver": "V", "arch": "A", "size": "I", "pkgdesc": "T", "url": "U", "license": "L",
		"origin": "o", "maintainer": "m", "builddate": "t", "depend": "D", "provides": "p",
	}
}

// apkEntry makes the lines of one package in APKINDEX (Alpine, "Apk spec"). apk looks
// for the file below the architecture that the index names, so a package for all of
// them gets that of the feed.
func apkEntry(file []byte, arch string) (string, error) {
	p, err := ReadAPK(file)
	if err != nil {
		return "", err
	}
	info, _ := Pick(p.Control, ".PKGINFO")
	values := map[string][]string{}
	for line := range strings.Lines(string(info)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if letter := apkFields()[name]; ok && letter != "" {
			values[letter] = append(values[letter], value)
		}
	}
	values["A"] = []string{arch}
	sum := sha1.Sum(p.Stream)
	var b strings.Builder
	fmt.Fprintf(&b, "C:Q1%s\n", base64.StdEncoding.EncodeToString(sum[:]))
	for _, letter := range []string{"P", "V", "A"} {
		fmt.Fprintf(&b, "%s:%s\n", letter, strings.Join(values[letter], " "))
	}
	fmt.Fprintf(&b, "S:%d\n", len(file))
	for _, letter := range []string{"I", "T", "U", "L", "o", "m", "t", "D", "p"} {
		if v := values[letter]; len(v) > 0 {
			fmt.Fprintf(&b, "%s:%s\n", letter, strings.Join(v, " "))
		}
	}
	return b.String(), nil
}

// APKIndex makes APKINDEX.tar.gz of an architecture for packages by their file
// names. With a key it is signed; keyName is the file of the public key in
// /etc/apk/keys.
func APKIndex(arch string, names []string, read func(name string) ([]byte, error), key *rsa.PrivateKey, keyName string) ([]byte, error) {
	var text strings.Builder
	for _, name := range names {
		file, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", name, err)
		}
		entry, err := apkEntry(file, arch)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", name, err)
		}
		text.WriteString(entry + "\n")
	}
	index, err := tarGzip(true, Member{tar.Header{Name: "DESCRIPTION"}, []byte("routerd")}, Member{tar.Header{Name: "APKINDEX"}, []byte(text.String())})
	if err != nil || key == nil {
		return index, err
	}
	sum := sha1.Sum(index)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign index: %w", err)
	}
	head, err := tarGzip(false, Member{tar.Header{Name: ".SIGN.RSA." + keyName}, signature})
	return append(head, index...), err
}

// tarGzip packs files; without an end another archive may follow.
func tarGzip(end bool, members ...Member) ([]byte, error) {
	var raw bytes.Buffer
	t := tar.NewWriter(&raw)
	for _, m := range members {
		m.Header.Mode, m.Header.Size, m.Header.Typeflag = 0o644, int64(len(m.Content)), tar.TypeReg
		if err := t.WriteHeader(&m.Header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", m.Header.Name, err)
		}
		if _, err := t.Write(m.Content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", m.Header.Name, err)
		}
	}
	finish := t.Flush
	if end {
		finish = t.Close
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return Gzip(raw.Bytes())
}
