package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/config/uci"
)

// FuzzParse: whatever the text, there is either a Config and no error, or an
// error that a problem explains; keys are in no problem; and what is valid
// stays so when uci writes the file anew.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", all, house, string(Default()), head + "config list\n\toption url file:///\n", head + "config tunnel a\n\toption private_key hush-hush-hush\n\toption x_key hush-hush-hush\n"} {
		f.Add([]byte(text))
	}
	env := testEnv(f, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems, err := Parse("f", text, env)
		errs := 0
		for _, p := range problems {
			if p.Level == LevelError {
				errs++
			}
			if p.Text == "" || strings.Contains(p.String(), "hush-hush-hush") && strings.Contains(p.Option, "key") {
				t.Fatalf("problem %+v", p)
			}
		}
		if (err != nil) != (errs > 0) || (err != nil) != (c == nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("config %v, problems %v, error %v", c, problems, err)
		}
		if err != nil {
			return
		}
		file, err := uci.Parse("f", text)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems, err := Parse("f", file.Format(), env); err != nil {
			t.Fatalf("written anew: %v %v", problems, err)
		}
	})
}
