// Package netcfg is a sample.
package netcfg

import (
	"errors"
	"sync"
)

func init() {}

var (
	// Exported could be replaced by anybody.
	Exported = []int{1}
	failure  = errors.New("not named as a sentinel")
	ErrGone  = errors.New("a sentinel that is written to") // documented
	cache    = map[string]int{}
	taken    = [2]int{}
	sorted   = []int{2, 1}
	counted  = [1]int{}
	count    int
	lock     = sync.Mutex{}
	pointer  = &struct{}{}
	called   = make(map[string]int)
	table    = []int{1, 2}
	inTest   = []int{1, 2}
)

func write() {
	ErrGone = nil
	cache["x"] = table[0]
	_ = &taken
	clear(sorted)
	counted[0]++
}
