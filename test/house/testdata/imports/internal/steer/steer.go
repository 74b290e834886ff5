// Package steer is a sample.
package steer

import "os"

var (_ = os.Getenv("X")
	_, _ = os.LookupEnv("X")
)
