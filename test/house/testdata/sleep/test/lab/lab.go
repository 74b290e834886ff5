// Package lab is a sample.
package lab

import "time"

func wait() { time.Sleep(time.Second) }
