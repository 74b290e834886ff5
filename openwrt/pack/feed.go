package pack

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FeedOptions say where packages are and how their indexes are signed.
type FeedOptions struct {
	Dir      string // with ipk/ARCH and apk/ARCH below
	USignKey string // a secret key of usign's; "": Packages is not signed
	APKKey   string // an RSA key (PEM); "": APKINDEX is not signed
}

// Feed writes the indexes of every architecture and SHA256SUMS of everything.
func Feed(o FeedOptions) error {
	key, err := readRSA(o.APKKey)
	if err != nil {
		return err
	}
	for _, packager := range []string{"ipk", "apk"} {
		dirs, err := filepath.Glob(filepath.Join(o.Dir, packager, "*"))
		if err != nil {
			return fmt.Errorf("list architectures: %w", err)
		}
		for _, dir := range dirs {
			if packager == "ipk" {
				err = o.opkg(dir)
			} else {
				err = o.apk(dir, key)
			}
			if err != nil {
				return err
			}
		}
	}
	return sums(o.Dir)
}

// packages are the names of the files of a kind in a directory, in order, and a
// way to read them.
func packages(dir, ext string) ([]string, func(string) ([]byte, error), error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil {
		return nil, nil, fmt.Errorf("list packages: %w", err)
	}
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = filepath.Base(p)
	}
	slices.Sort(names)
	return names, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }, nil
}

func (o FeedOptions) opkg(dir string) error {
	names, read, err := packages(dir, ".ipk")
	if err != nil {
		return err
	}
	index, err := OpkgIndex(names, read)
	if err != nil {
		return err
	}
	packed, err := Gzip(index)
	if err != nil {
		return err
	}
	files := map[string][]byte{"Packages": index, "Packages.gz": packed}
	if o.USignKey != "" {
		raw, err := os.ReadFile(o.USignKey)
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		key, err := ParseSigningKey(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", o.USignKey, err)
		}
		files["Packages.sig"] = key.Sign(index)
	}
	return writeAll(dir, files)
}

func (o FeedOptions) apk(dir string, key *rsa.PrivateKey) error {
	names, read, err := packages(dir, ".apk")
	if err != nil {
		return err
	}
	index, err := APKIndex(filepath.Base(dir), names, read, key, apkKeyName(o.APKKey))
	if err != nil {
		return err
	}
	return writeAll(dir, map[string][]byte{"APKINDEX.tar.gz": index})
}

func writeAll(dir string, files map[string][]byte) error {
	var errs []error
	for name, content := range files {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	return errors.Join(errs...)
}

// apkKeyName is what apk looks the public key up by: the name of its file.
func apkKeyName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + ".rsa.pub"
}

// readRSA reads an RSA key in PKCS #1 or #8; "" is none.
func readRSA(path string) (*rsa.PrivateKey, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no key was asked for
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in PEM", path)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: no RSA key, and apk's second format knows no other", path)
	}
	return key, nil
}

// sums writes SHA256SUMS, for `sha256sum --check`.
func sums(dir string) error {
	var text strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "SHA256SUMS" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		fmt.Fprintf(&text, "%s  %s\n", hex.EncodeToString(sum[:]), filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		return fmt.Errorf("add up: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(text.String()), 0o644)
}

// WriteKey makes a key of usign's: the secret one in a file that is not there
// yet, the public one beside it with .pub.
func WriteKey(path string) error {
	key, err := NewSigningKey(rand.Reader)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(key.Secret())
	return errors.Join(err, f.Close(), os.WriteFile(path+".pub", key.Public(), 0o644))
}
