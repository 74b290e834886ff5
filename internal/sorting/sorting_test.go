package sorting_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/routerd/routerd/internal/sorting"
)

type pair struct{ key, place int }

func TestByKeepsTheOrderOfEquals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		s := make([]pair, n)
		for i := range s {
			s[i] = pair{random.IntN(n/3 + 1), i}
		}
		want := slices.Clone(s)
		slices.SortStableFunc(want, func(a, b pair) int { return a.key - b.key })
		sorting.By(s, func(a, b pair) int { return a.key - b.key })
		if !slices.Equal(s, want) {
			t.Fatalf("%d: %v, want %v", n, s, want)
		}
	}
}

// Compare with slices.SortFunc: go test -bench . ./internal/sorting
func BenchmarkBy(b *testing.B) {
	for name, sort := range map[string]func([]pair, func(a, b pair) int){"by": sorting.By[pair], "slices": slices.SortFunc[[]pair]} {
		b.Run(name, func(b *testing.B) {
			random, s := rand.New(rand.NewPCG(1, 2)), make([]pair, 100_000)
			for b.Loop() {
				for i := range s {
					s[i] = pair{random.Int(), i}
				}
				sort(s, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
			}
		})
	}
}
