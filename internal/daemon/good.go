package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// goodFile holds a copy of the last settings that were in force. It lies in the
// state directory, in memory: a daemon that is started anew over settings that
// are refused goes on with it. After a boot there is none, and nothing is
// steered until the settings are mended: keeping it on flash would put private
// keys in a second place that outlives both cleanup and a reset of the settings.
const goodFile = "settings"

// goodHead begins the copy's first line; the checksum of what is behind that line
// ends it. Without it a copy that is cut off would be settings with fewer
// destinations.
const goodHead = "# routerd's copy of the settings in force, SHA-256 "

var errNotGood = errors.New("the copy of the last good settings is damaged, or not routerd's")

func goodPath(stateDir string) string { return filepath.Join(stateDir, goodFile) }

func goodText(text []byte) []byte {
	sum := sha256.Sum256(text)
	return append([]byte(goodHead+hex.EncodeToString(sum[:])+"\n"), text...)
}

// saveGood keeps a copy of settings that are in force, readable to root only.
func saveGood(stateDir string, text []byte) error {
	path := goodPath(stateDir)
	kept := goodText(text)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, kept) {
		return nil
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	// In one step: a crash leaves the old copy or the new. What a crash has left of
	// an earlier one may have another mode.
	next := path + ".new"
	err := os.RemoveAll(next)
	if err == nil {
		err = os.WriteFile(next, kept, 0o600)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("write copy of settings: %w", err)
	}
	return nil
}

// readGood gives the settings of the copy, if it is whole.
func readGood(stateDir string) ([]byte, error) {
	kept, err := readSettings(goodPath(stateDir))
	if err != nil {
		return nil, err
	}
	_, text, _ := bytes.Cut(kept, []byte("\n"))
	if !bytes.Equal(kept, goodText(text)) {
		return nil, fmt.Errorf("%w: %s", errNotGood, goodPath(stateDir))
	}
	return text, nil
}

// removeState removes what this package keeps in the state directory, and the
// directory where nothing else is in it: it may be one that others use too.
func removeState(dir string) error {
	var errs []error
	for _, path := range []string{goodPath(dir), goodPath(dir) + ".new"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove copy of settings: %w", err))
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, listState)); err != nil {
		errs = append(errs, fmt.Errorf("remove state of lists: %w", err))
	}
	_ = os.Remove(dir) // fails where something else is in it
	return errors.Join(errs...)
}
