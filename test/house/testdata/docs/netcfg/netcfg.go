package netcfg

import "sync"

func Function() {}

type Type struct {
	mu sync.RWMutex
}

func (t *Type) Method() {
	var ready sync.WaitGroup

	ready.Add(1)

	go ready.Wait()
}

type (
	// Inner is documented.
	Inner int
	Other int
)

const Constant = 1
