package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// files are file contents by path.
type files map[string][]byte

// writeFiles writes many files inside a host at one entry; they are readable by
// root only.
func (l *Lab) writeFiles(host string, all files) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		for path, data := range all {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return fmt.Errorf("write %s on %s: %w", path, host, err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				return fmt.Errorf("write %s on %s: %w", path, host, err)
			}
		}
		return nil
	})
}

// trustAuthority adds the lab's authority to those that a host's programs
// trust: it stands in the private /etc, the machine's own is not touched.
func (l *Lab) trustAuthority(host string, certificate []byte) error {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	old, err := l.ReadFile(host, bundle)
	if err != nil {
		old = nil // a machine without ca-certificates
	}
	if err := l.WriteFile(host, bundle, append(old, certificate...), 0o644); err != nil {
		return err
	}
	return l.WriteFile(host, authorityFile, certificate, 0o644)
}

// authorityFile is the lab's authority alone, on every host.
const authorityFile = "/etc/ssl/lab-ca.pem"

// CA is the certificate of the lab's own authority, PEM. Every host trusts it.
func (l *Lab) CA() ([]byte, error) { return l.ReadFile(Client, authorityFile) }
