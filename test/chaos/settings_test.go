package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/test/lab"
)

// parse reads settings as the daemon does, but for the tunnels' files.
func parse(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	env, err := config.DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tunnel.conf")
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	quick := "[Interface]\nPrivateKey = " + key + "\nAddress = 10.50.0.2/32\n\n[Peer]\nPublicKey = " + key +
		"\nAllowedIPs = 0.0.0.0/0\nEndpoint = 22.50.0.1:51820\n"
	if err := os.WriteFile(file, []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range tunnels() {
		text = strings.ReplaceAll(text, "/etc/routerd/"+name+".conf", file)
	}
	c, _, err := config.Parse("routerd", []byte(text), env)
	return c, err
}

func TestEveryVariantOfTheSettingsClosesExchangesAndPools(t *testing.T) {
	all := []settings{usual()}
	for _, x := range changes() {
		s := usual()
		x.change(&s)
		if s == usual() {
			t.Errorf("%s: changes nothing", x.words)
		}
		all = append(all, s)
	}
	for _, s := range all {
		c, err := parse(t, s.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
		closed := map[string]bool{}
		for _, d := range c.Destinations {
			for _, category := range d.Categories {
				closed[string(category)] = d.Policy == config.PolicyTunnel && d.Fallback == config.FallbackBlock
			}
		}
		if !closed["exchange"] || !closed["pool"] {
			t.Errorf("closed are %v in\n%s", closed, s)
		}
	}
}

func TestBrokenSettingsAreBroken(t *testing.T) {
	for _, text := range corruptions() {
		if _, err := parse(t, text); err == nil {
			t.Errorf("taken: %q", text)
		}
	}
}

func TestPopulationTellsListedFromUnlisted(t *testing.T) {
	p, err := populate(1)
	if err != nil {
		t.Fatal(err)
	}
	if min(len(p.listed), len(p.unlisted)) < 200 || len(p.spare) < 1000 {
		t.Errorf("%d listed, %d unlisted, %d spare names", len(p.listed), len(p.unlisted), len(p.spare))
	}
	for _, a := range p.closed {
		if slices.Contains(p.plain, a) {
			t.Errorf("%s must not be anywhere", a)
		}
	}
	for _, target := range p.unlisted {
		if target.Name == lab.SharedUnlisted || target.Name == lab.AliasUnlisted {
			t.Errorf("%s has an address that is listed too", target.Name)
		}
	}
}
