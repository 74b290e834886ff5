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
	for _, text := range []string{"", all, house, head + "config list\n\toption url file:///\n", head + "config tunnel a\n\toption private_key hush-hush-hush\n\toption x_key hush-hush-hush\n"} {
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
			checkProblem(t, p)
		}
		failed := errors.Is(err, ErrInvalid)
		if failed != (err != nil) || failed != (errs > 0) || failed != (c == nil) {
			t.Fatalf("config %v, problems %v, error %v", c, problems, err)
		}
		if !failed {
			checkWrittenAnew(t, text, env)
		}
	})
}

// checkProblem checks that a problem says something, and never a key.
func checkProblem(t *testing.T, p Problem) {
	if p.Text == "" || strings.Contains(p.Option, "key") && strings.Contains(p.String(), "hush-hush-hush") {
		t.Fatalf("problem %+v", p)
	}
}

// checkWrittenAnew checks settings after uci has written the file.
func checkWrittenAnew(t *testing.T, text []byte, env Env) {
	file, err := uci.Parse("f", text)
	if err != nil {
		t.Fatal(err)
	}
	if _, problems, err := Parse("f", file.Format(), env); err != nil {
		t.Fatalf("written anew: %v %v", problems, err)
	}
}
