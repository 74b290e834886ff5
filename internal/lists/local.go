package lists

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// isLocal says whether a list comes from a file: file:// or a path.
func isLocal(url string) bool {
	return strings.HasPrefix(url, "file://") || strings.HasPrefix(url, "/")
}

// readLocal reads a list from a file. Files that it includes are those of its
// own folder; links that lead out of it are not followed.
func (m *Manager) readLocal(l config.List, progress func(done, total int64)) (result, error) {
	path := strings.TrimPrefix(l.URL, "file://")
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return result{}, fmt.Errorf("open folder of the list: %w", err)
	}
	defer dir.Close()
	// Opened by path: the list itself may be a link to somewhere else.
	f, size, err := openRegular(func() (*os.File, error) { return os.Open(path) })
	if err != nil {
		return result{}, fmt.Errorf("open list: %w", err)
	}
	defer f.Close()
	include := func(name string) (io.ReadCloser, error) {
		f, _, err := openRegular(func() (*os.File, error) { return dir.Open(name) })
		return f, err
	}
	res := result{}
	res.parsed, err = m.parse(f, l, filepath.Base(path), include, func(done int64) { progress(done, size) })
	return res, err
}

// openRegular opens a file and refuses what is none, such as a device that
// never ends.
func openRegular(open func() (*os.File, error)) (*os.File, int64, error) {
	f, err := open()
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// parse reads a list from a stream of bytes, gzip or not.
func (m *Manager) parse(r io.Reader, l config.List, name string, include func(string) (io.ReadCloser, error), progress func(int64)) (catalogue.Parsed, error) {
	counted := &countingReader{r: r, limit: int64(m.limits.size), progress: progress}
	text, err := unzipped(counted)
	if err != nil {
		return catalogue.Parsed{}, err
	}
	p, err := catalogue.ParseList(text, catalogue.Format(l.Format), catalogue.ListOptions{
		Name: strings.TrimSuffix(name, ".gz"), MaxSize: m.limits.size, MaxRules: m.limits.rules, Include: include, Refuse: newScreen().refuse,
	})
	counted.end()
	return p, err
}
