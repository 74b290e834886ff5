package lists

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/config"
)

// BenchmarkLists takes a list of 100,000 names from a file to its kept copy
// (parse, screen, sort, check), and reads the rules back as a start does.
func BenchmarkLists(b *testing.B) {
	const names = 100_000
	var text strings.Builder
	for i := range names {
		fmt.Fprintf(&text, "name%d.some-site-%d.example\n", i%7, i)
	}
	dir := b.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	m := New(Options{Dir: dir, StateDir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	m.Set([]config.List{{Name: "a", URL: source, Format: "auto", Interval: time.Hour}})
	b.Run("update", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := m.Update(b.Context(), "a", nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rules", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rules, err := m.Rules("a"); err != nil || len(rules) != names {
				b.Fatalf("%d rules, %v", len(rules), err)
			}
		}
	})
}
