package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pbrSettings = `config pbr 'config'
	option enabled '1'

config policy
	option name 'Exchange sites'
	option src_addr '192.168.1.40 laptop'
	option dest_addr 'binance.com 203.0.113.0/24'
	option interface 'wg0'

config policy
	option name 'Games'
	option dest_port '27015'
	option interface 'wan'

config policy
	option name 'Bank'
	option dest_addr 'bank.example'
	option interface 'wan'

config policy
	option name 'Own networks'
	option dest_addr '10.0.0.0/24'
	option interface 'ignore'

config policy
	option name 'Onions'
	option dest_addr 'onion.example'
	option interface 'tor'

config policy
	option name 'old'
	option enabled '0'
	option dest_addr 'x.example'
	option interface 'wg0'
`

const pbrTaken = `
config tunnel 'wg0'
	option type 'interface'
	option device 'wg0'

config destination 'exchange_sites'
	option label 'Exchange sites'
	option policy 'tunnel'
	list tunnel 'wg0'
	list domain 'binance.com'
	list address '203.0.113.0/24'
	list client '192.168.1.40'

config destination 'bank'
	option label 'Bank'
	option policy 'direct'
	list domain 'bank.example'

config destination 'own_networks'
	option label 'Own networks'
	option policy 'direct'
	list address '10.0.0.0/24'
`

const podkopSettings = `config settings 'settings'
	option dns_type 'doh'

config section 'main'
	option connection_type 'vpn'
	option interface 'awg0'
	list community_lists 'russia_inside'
	list user_domains 'okx.com'
	option user_subnets_text '198.51.100.0/24, 2001:db8::/32'
	list fully_routed_ips '192.168.1.2'

config section 'proxy'
	option connection_type 'proxy'
	list user_domains 'other.example'
`

const podkopTaken = `
config tunnel 'awg0'
	option type 'interface'
	option device 'awg0'

config destination 'main2'
	option label 'main'
	option policy 'tunnel'
	list tunnel 'awg0'
	list domain 'okx.com'
	list address '198.51.100.0/24'
	list address '2001:db8::/32'
`

func TestSettingsOfOthersAreTakenOver(t *testing.T) {
	for _, tc := range []struct {
		program, text, want string
		notes               []string
	}{
		{"pbr", pbrSettings, pbrTaken, []string{"laptop", "dest_port", "names no name", `"tor" has no counterpart`, "is disabled"}},
		{"podkop", podkopSettings, podkopTaken, []string{"russia_inside", "192.168.1.2", `"proxy" has no counterpart`}},
	} {
		got, err := Migrate(tc.program, "f", []byte(tc.text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, string(got.Text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.program, diff)
		}
		all := strings.Join(got.Notes, "\n")
		for _, note := range tc.notes {
			if !strings.Contains(all, note) {
				t.Errorf("%s: no note on %q in\n%s", tc.program, note, all)
			}
		}
		if len(got.Notes) != len(tc.notes) {
			t.Errorf("%s: notes are\n%s", tc.program, all)
		}
		if _, _, err := Parse("result", append([]byte("config routerd 'main'\n"), got.Text...), testEnv(t, nil)); err != nil {
			t.Errorf("%s: the result is not valid: %v", tc.program, err)
		}
	}
}

// A rule without its clients would count for everybody.
func TestClientsThatCannotBeNamedAreNotWidenedToAll(t *testing.T) {
	policy := func(name, clients string) string {
		return "config policy\n\toption name '" + name + "'\n\toption interface 'wg0'\n\toption dest_addr '" + name + ".example'\n\toption src_addr '" + clients + "'\n"
	}
	got, err := Migrate("pbr", "f", []byte(policy("guests", "@br-guest")+policy("others", "!192.168.1.5 laptop")+policy("some", "@br-guest 192.168.1.6")))
	if err != nil {
		t.Fatal(err)
	}
	text, notes := string(got.Text), strings.Join(got.Notes, "\n")
	if strings.Contains(text, "guests.example") || strings.Contains(text, "others.example") {
		t.Errorf("rules for some clients count for all:\n%s", text)
	}
	if !strings.Contains(text, "some.example") || !strings.Contains(text, "\tlist client '192.168.1.6'\n") || strings.Count(text, "list client") != 1 {
		t.Errorf("the client that can be named is not kept:\n%s", text)
	}
	if strings.Count(notes, "counts for no client that can be named here") != 2 || !strings.Contains(notes, "laptop") {
		t.Errorf("notes are\n%s", notes)
	}
}

func TestSettingsThatHoldNothingAreRefused(t *testing.T) {
	if _, err := Migrate("pbr", "f", []byte("config pbr 'config'\n")); !errors.Is(err, errForeign) {
		t.Errorf("error %v", err)
	}
	if _, err := Migrate("mwan3", "f", nil); err == nil || !strings.Contains(err.Error(), "pbr and podkop are known") {
		t.Errorf("error %v", err)
	}
	if _, err := Migrate("pbr", "f", []byte("nonsense")); err == nil {
		t.Error("what is no UCI is taken")
	}
}

// Whatever others' settings hold, what is made of them can be read.
func FuzzMigrate(f *testing.F) {
	f.Add("pbr", pbrSettings)
	f.Add("podkop", podkopSettings)
	env, err := DefaultEnv()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, program, text string) {
		got, err := Migrate(program, "f", []byte(text))
		if err != nil {
			return
		}
		_, problems, err := Parse("result", append([]byte("config routerd 'main'\n"), got.Text...), env)
		var foreign []Problem
		for _, p := range problems {
			if p.Level == LevelError && p.Option != "device" && p.Option != "label" && p.Option != "client" && p.Section == "" {
				foreign = append(foreign, p)
			}
		}
		if len(foreign) > 0 {
			t.Errorf("%q makes\n%s\nwhich is refused: %v, %v", text, got.Text, err, foreign)
		}
	})
}
