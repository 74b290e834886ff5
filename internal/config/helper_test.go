package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// testEnv is the real catalogue and a few files of rules.
func testEnv(t testing.TB, files map[string]string) Env {
	t.Helper()
	env, err := DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	env.ReadFile = func(name string) ([]byte, error) {
		text, ok := files[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
	return env
}

// told parses a text and gives the problems as people read them. It fails when
// error and Config do not go with them.
func told(t *testing.T, text string) (*Config, []string) {
	t.Helper()
	c, problems, err := Parse("f", []byte(text), testEnv(t, map[string]string{
		"/etc/routerd/good.list":  "# mine\nexample.com # c\n203.0.113.0/24\n",
		"/etc/routerd/bad.list":   "example.com\n*\nexample..org\n",
		"/etc/routerd/awful.list": "a b\na b\na b\na b\na b\na b\na b\n",
	}))
	var lines []string
	failed := false
	for _, p := range problems {
		lines = append(lines, p.String())
		failed = failed || p.Level == LevelError
	}
	if failed != errors.Is(err, ErrInvalid) || failed != (c == nil) {
		t.Fatalf("problems %q, error %v, config %v", lines, err, c)
	}
	return c, lines
}

// settings writes a settings file.
func settings(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "routerd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// content reads a settings file.
func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
