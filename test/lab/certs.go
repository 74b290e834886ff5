package lab

import (
	"strings"

	"github.com/routerd/routerd/test/lab/authority"
)

// certDir holds the servers' certificates inside net: NAME.crt, key.pem.
const certDir = runDir + "/certs"

// serverCertificates are the files of certDir: one certificate a name, but one
// for all generated names of a suffix, and a default for names of nobody.
func serverCertificates(a *authority.Authority, names []Name) (files, error) {
	key, err := a.KeyPEM()
	if err != nil {
		return nil, err
	}
	out := files{certDir + "/key.pem": key}
	add := func(file string, dnsNames ...string) error {
		path := certDir + "/" + file + ".crt"
		if out[path] != nil {
			return nil
		}
		out[path], err = a.IssuePEM(dnsNames)
		return err
	}
	if err := add("default", "default.invalid"); err != nil {
		return nil, err
	}
	for _, n := range names {
		subject := n.certificate
		if parent, ok := strings.CutPrefix(subject, "_."); ok {
			subject = "*." + parent
		}
		if err := add(n.certificate, subject); err != nil {
			return nil, err
		}
	}
	return out, nil
}
