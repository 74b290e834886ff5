package netcfg

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTakesNoTime(t *testing.T) {
	synctest.Test(t, func(*testing.T) { time.Sleep(time.Hour) })
}
