package reach

import (
	"crypto/ecdh"
	"crypto/rand"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// multiplications is about how many times as long as one multiplication on
// Curve25519 a check over TLS keeps a processor busy: agreeing on a key takes two,
// verifying a certificate's two signatures six where nothing is written in assembly,
// and the rest as much again.
const multiplications = 16

// checkCost is about the processor time that a check over TLS takes on this
// machine, from a trial; 0 where the kernel does not tell.
func checkCost() time.Duration {
	least := time.Duration(0)
	for range 3 { // the first one also pays for what is read from flash
		if took := multiplicationTime(); least == 0 || took < least {
			least = took
		}
	}
	return multiplications * least
}

// multiplicationTime is the processor time of one multiplication on Curve25519.
func multiplicationTime() time.Duration {
	runtime.LockOSThread() // the clock is the thread's
	defer runtime.UnlockOSThread()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return 0
	}
	public := key.PublicKey() // a multiplication, too
	began := threadTime()
	if _, err := key.ECDH(public); err != nil {
		return 0
	}
	return threadTime() - began
}

// threadTime is the processor time of this thread so far.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
