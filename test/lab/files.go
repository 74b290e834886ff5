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

// trustDir is where programs find the authorities that they trust.
const trustDir = "/etc/ssl/certs"

// trustAuthority makes the lab's authority the one that a host's programs trust. They
// read all that there are each time: the machine's own would be most of their work.
func (l *Lab) trustAuthority(host string, certificate []byte) error {
	if err := l.WriteFile(host, trustDir+"/ca-certificates.crt", certificate, 0o644); err != nil {
		return err
	}
	return l.WriteFile(host, authorityFile, certificate, 0o644)
}

// authorityFile is the lab's authority alone, on every host.
const authorityFile = "/etc/ssl/lab-ca.pem"

// CA is the certificate of the lab's own authority, PEM. Every host trusts it.
func (l *Lab) CA() ([]byte, error) { return l.ReadFile(Client, authorityFile) }
