package tunnel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestNoWayOfPrintingShowsKeys(t *testing.T) {
	s, err := ParseQuick(strings.NewReader(goodFile))
	must(t, err)
	secrets := []string{}
	for _, k := range [][]byte{s.PrivateKey[:], s.Peers[0].PresharedKey[:], s.Peers[0].PublicKey[:]} {
		decimal := strings.Trim(fmt.Sprint(k[:8]), "[]")
		secrets = append(secrets, fmt.Sprintf("%x", k[:6]), strings.ToUpper(hex.EncodeToString(k[:6])), decimal,
			strings.ReplaceAll(decimal, " ", ","), string(k[:6]))
	}
	secrets = append(secrets, s.PrivateKey.String(), keyC, keyD)
	outputs := map[string]string{}
	for _, value := range []any{s, &s, s.Peers[0], &s.Peers[0], s.Peers, specOf(s), []Spec{specOf(s)}, struct{ S Settings }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U"} {
			outputs[fmt.Sprintf("%s of %T", verb, value)] = fmt.Sprintf(verb, value)
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("x", "value", value)
		outputs[fmt.Sprintf("slog text of %T", value)] = text.String()
		outputs[fmt.Sprintf("slog JSON of %T", value)] = js.String()
		data, err := json.Marshal(value)
		must(t, err)
		outputs[fmt.Sprintf("JSON of %T", value)] = string(data)
	}
	for how, output := range outputs {
		for _, secret := range secrets {
			if strings.Contains(output, secret) {
				t.Errorf("%s shows a key: %s", how, output)
			}
		}
	}
}

func TestSettingsAreWrittenAsTheyWereRead(t *testing.T) {
	s, err := ParseQuick(strings.NewReader(goodFile))
	must(t, err)
	s.ListenPort = 1234
	again, err := ParseQuick(bytes.NewReader(formatQuick(s)))
	must(t, err)
	if !again.Equal(s) {
		t.Errorf("got %v, want %v", again, s)
	}
}

func TestEqualSeesEveryDifference(t *testing.T) {
	read := func() Settings {
		s, err := ParseQuick(strings.NewReader(goodFile))
		must(t, err)
		return s
	}
	other := keyOf(t, keyD)
	for name, change := range map[string]func(*Settings){
		"private key":   func(s *Settings) { s.PrivateKey = other },
		"addresses":     func(s *Settings) { s.Addresses = s.Addresses[:1] },
		"MTU":           func(s *Settings) { s.MTU++ },
		"port":          func(s *Settings) { s.ListenPort++ },
		"peers":         func(s *Settings) { s.Peers = append(s.Peers, Peer{}) },
		"public key":    func(s *Settings) { s.Peers[0].PublicKey = other },
		"preshared key": func(s *Settings) { s.Peers[0].PresharedKey = nil },
		"networks":      func(s *Settings) { s.Peers[0].AllowedIPs = s.Peers[0].AllowedIPs[:1] },
		"endpoint":      func(s *Settings) { s.Peers[0].Endpoint.Port++ },
		"keepalive":     func(s *Settings) { s.Peers[0].Keepalive += time.Second },
	} {
		s := read()
		change(&s)
		if s.Equal(read()) {
			t.Errorf("%s is not seen", name)
		}
	}
	s := read()
	s.Notes, s.DNS = nil, nil
	if !s.Equal(read()) {
		t.Error("notes count")
	}
}

func TestGenerateKeyMakesAPair(t *testing.T) {
	private, public, err := GenerateKey()
	must(t, err)
	if private.PublicKey() != public || clamp(private) != private {
		t.Error("not a pair, or not clamped")
	}
}

func TestShownHidesAndCuts(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/33":               "10.0.0.0/33",
		"it's\x1b[31m\n red":        "its[31m red",
		keyA:                        hidden,
		"key " + keyA[:25]:          "key " + hidden,
		keyA[:10] + "'" + keyA[10:]: hidden,
		strings.Repeat("ab ", 50):   strings.Repeat("ab ", 21) + "a…",
		strings.Repeat("é ", 40):    strings.Repeat("é ", 21) + "…",
	} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
