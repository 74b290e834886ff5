// Package daemon wires the packages together: lifecycle and the one reconcile
// loop.
package daemon

import (
	"context"
	"errors"
	"log/slog"
)

// Options say where the daemon finds its files; every path has its default in
// package owned.
type Options struct {
	ConfigFile string
	Socket     string
	StateDir   string
	BPFDir     string
	Version    string
	Log        *slog.Logger
	LogLevel   *slog.LevelVar // set from option log_level at every reload
}

// Run is the daemon. It returns when ctx ends, leaving the kernel state in
// place for the next process, or with the error that stops it from working.
func Run(ctx context.Context, o Options) error { return errors.New("not yet") }

// Cleanup removes everything of routerd from the kernel, with no daemon and no
// stored state.
func Cleanup(ctx context.Context, o Options) error { return errors.New("not yet") }
