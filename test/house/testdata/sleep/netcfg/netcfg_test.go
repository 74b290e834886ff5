package netcfg

import (
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	time.Sleep(time.Second)
	for range 3 {
		time.Sleep(time.Second)
	}
	for i := 0; i < 3; i++ {
		time.Sleep(time.Second)
	}
}
