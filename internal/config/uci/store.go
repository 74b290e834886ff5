package uci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Read reads and parses a file of at most MaxSize bytes.
func Read(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer file.Close()
	return readFrom(path, file)
}

// Edit reads a file, lets a function edit it and puts the result in its place
// in one step: whoever reads the file sees all of the old or all of the new
// text, also after a loss of power. When the function fails or changes
// nothing, nothing is written. Mode and owner stay; a symbolic link stays one.
// The file is locked as uci locks it, so that neither loses the other's
// changes.
func Edit(path string, edit func(*File) error) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("edit settings: %w", err)
	}
	file, err := openLocked(path)
	if err != nil {
		return fmt.Errorf("edit settings: %w", err)
	}
	defer file.Close() // unlocks
	f, err := readFrom(path, file)
	if err != nil {
		return err
	}
	before := f.Bytes()
	if err := edit(f); err != nil {
		return err
	}
	if bytes.Equal(before, f.Bytes()) {
		return nil
	}
	if err := replace(path, file, f.Bytes()); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// readFrom reads and parses an open file.
func readFrom(path string, file *os.File) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return Parse(path, text)
}

// openLocked opens a file and locks it. Another process may have put a new
// file in its place while we waited: then that one is locked instead.
func openLocked(path string) (*os.File, error) {
	const tries = 16
	for range tries {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		current, err := lock(path, file)
		if err == nil && current {
			return file, nil
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("lock %s: it is replaced again and again", path)
}

// lock waits for the lock and says whether the file still stands at the path.
func lock(path string, file *os.File) (current bool, err error) {
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	locked, err := file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(locked, now), err
}

// replace puts text in the place of an open file. The temporary file has a dot
// in its name: uci does not take it for a configuration file.
func replace(path string, old *os.File, text []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".routerd-*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(tmp, old, text), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(dir)
}

// fill makes a new file that can take the place of the old one.
func fill(file, old *os.File, text []byte) error {
	if err := likeOld(file, old); err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.Sync()
}

// likeOld gives a new file the mode and owner of another.
func likeOld(file, old *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(old.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", old.Name(), err)
	}
	// Owner first: changing it clears set-id bits.
	if err := file.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return file.Chmod(os.FileMode(st.Mode & 0o777))
}

// syncDir makes a rename last. Some file systems cannot; then the rename is as
// durable as they make it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
