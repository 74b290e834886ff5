package interfere

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// RejectDir is the directory below StatusDir of a pool's addresses that refuse
// miners; next to it stands one for each HTTP status, of host names.
const RejectDir = "reject"

// beginStatus makes the files that net's servers look for at each request. Files
// of several interferences with one name are one: the last undoes it.
func (k *controller) beginStatus(a *active) error {
	dir, names := filepath.Join(k.c.StatusDir, strconv.Itoa(a.x.Status)), a.x.Hosts
	if a.x.Kind == ServiceReject {
		dir, names = filepath.Join(k.c.StatusDir, RejectDir), nil
		for _, p := range a.x.restricted() {
			names = append(names, p.Addr().String())
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory of statuses: %w", err)
	}
	a.onUndo(func() error {
		_ = os.Remove(dir) // fails while another interference has a file in it
		_ = os.Remove(k.c.StatusDir)
		return nil
	})
	for _, name := range names {
		path := filepath.Join(dir, name)
		a.onUndo(func() error {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("forget status: %w", err)
			}
			return nil
		})
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return fmt.Errorf("note status: %w", err)
		}
	}
	return nil
}
