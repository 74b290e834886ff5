package lists

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
)

// The kept copy of a list is a plain list: a head of comments, then one rule a
// line, sorted. It can be read, and used as `list file`, by anybody.
const (
	headFirst = "# routerd list: kept by the daemon, changes are overwritten"
	maxHead   = 32 // lines
)

var (
	errNotCopy = errors.New("it is not a copy that routerd wrote")
	errDamaged = errors.New("it is damaged: its checksum is not that of its rules")
)

// compareRules orders rules: networks, then names.
func compareRules(a, b catalogue.Rule) int {
	return cmp.Or(
		cmp.Compare(a.Name, b.Name), // networks have none
		cmp.Compare(a.Kind, b.Kind),
		a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
	)
}

// writeRules writes one rule a line.
func writeRules(w io.Writer, rules []catalogue.Rule) error {
	line := make([]byte, 0, 256)
	for _, r := range rules {
		line = append(append(line[:0], r.String()...), '\n')
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// sumOf is the checksum of rules.
func sumOf(rules []catalogue.Rule) string {
	h := sha256.New()
	_ = writeRules(h, rules) // a hash takes everything
	return hexSum(h)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// head gives the comments that describe a copy.
func (m *meta) head() string {
	var b strings.Builder
	b.WriteString(headFirst + "\n")
	field := func(name, value string) {
		if value != "" {
			b.WriteString("# " + name + ": " + oneLine(value) + "\n")
		}
	}
	field("url", m.URL)
	field("format", m.Format)
	field("detected", m.Detected)
	field("etag", m.ETag)
	field("modified", m.Modified)
	field("updated", m.Updated.Format(time.RFC3339))
	field("rules", strconv.Itoa(m.Rules))
	field("duplicates", strconv.Itoa(m.Duplicates))
	field("skipped", strconv.Itoa(m.Skipped))
	field("unsupported", kindsText(m.Unsupported))
	field("reader", strconv.Itoa(m.Reader))
	field("sum", m.Sum)
	return b.String()
}

// kindsText writes counts by kind as "kind=1, other kind=2".
func kindsText(kinds map[string]int) string {
	var out []string
	for kind, n := range kinds {
		out = append(out, kind+"="+strconv.Itoa(n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func parseKinds(s string) map[string]int {
	kinds := map[string]int{}
	for part := range strings.SplitSeq(s, ", ") {
		if kind, n, ok := strings.Cut(part, "="); ok {
			kinds[kind], _ = strconv.Atoi(n)
		}
	}
	return kinds
}

// readHead reads the comments of a copy; r stands before the first rule then.
func readHead(r *bufio.Reader) (meta, error) {
	fields := map[string]string{}
	for n := range maxHead {
		if begin, err := r.Peek(1); err != nil || begin[0] != '#' {
			break
		}
		line, err := r.ReadSlice('\n')
		text := strings.TrimSuffix(string(line), "\n")
		if err != nil || n == 0 && text != headFirst {
			return meta{}, errNotCopy
		}
		if name, value, ok := strings.Cut(strings.TrimPrefix(text, "# "), ": "); ok {
			fields[name] = value
		}
	}
	if fields["sum"] == "" {
		return meta{}, errNotCopy
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(fields[name])
		return n
	}
	updated, _ := time.Parse(time.RFC3339, fields["updated"])
	return meta{
		Reader: number("reader"), URL: fields["url"], Format: fields["format"], Detected: fields["detected"],
		ETag: fields["etag"], Modified: fields["modified"], Updated: updated, Rules: number("rules"),
		Duplicates: number("duplicates"), Skipped: number("skipped"), Unsupported: parseKinds(fields["unsupported"]), Sum: fields["sum"],
	}, nil
}

// openCopy opens a copy and reads its head.
func openCopy(path string) (*os.File, *bufio.Reader, meta, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, meta{}, fmt.Errorf("open copy: %w", err)
	}
	r := bufio.NewReader(f)
	head, err := readHead(r)
	if err != nil {
		_ = f.Close()
		return nil, nil, meta{}, fmt.Errorf("read copy %s: %w", path, err)
	}
	return f, r, head, nil
}

// checkCopy gives the head of a copy that is whole.
func checkCopy(path string) (meta, error) {
	f, r, head, err := openCopy(path)
	if err != nil {
		return meta{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return meta{}, fmt.Errorf("read copy: %w", err)
	}
	if hexSum(sum) != head.Sum {
		return meta{}, fmt.Errorf("read copy %s: %w", path, errDamaged)
	}
	return head, nil
}

// readRules reads the rules of a copy. They are screened again: the copy may be
// that of an earlier version.
func readRules(path string) ([]catalogue.Rule, error) {
	f, r, head, err := openCopy(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	p, err := catalogue.ParseList(io.TeeReader(r, sum), catalogue.FormatPlain, catalogue.ListOptions{
		MaxSize: defaultLimits().size * 2, Refuse: newScreen().refuse,
	})
	switch {
	case hexSum(sum) != head.Sum:
		return nil, fmt.Errorf("read copy %s: %w", path, errDamaged)
	case err != nil:
		return nil, fmt.Errorf("read copy %s: %w", path, err)
	}
	return p.Rules, nil
}

// pending is a copy that is written, but not in its place yet.
type pending struct{ temporary, path string }

// write writes a copy beside its place: on flash, or where that fails in the
// state directory, so that the rules can at least be used until the router's
// next start.
func (m *Manager) write(name string, head meta, rules []catalogue.Rule) (*pending, error) {
	if !safeName(name) {
		return nil, fmt.Errorf("write copy: %q cannot be the name of a file", name)
	}
	t, err := writeCopy(m.flashPath(name), head, rules)
	if err == nil {
		return t, nil
	}
	m.opts.Log.Warn("list cannot be kept on flash, it is kept in memory", "list", name, "error", err)
	return writeCopy(m.statePath(name, copySuffix), head, rules)
}

func writeCopy(path string, head meta, rules []catalogue.Rule) (*pending, error) {
	t := &pending{temporary: path + ".new", path: path}
	err := createFile(t.temporary, func(w io.Writer) error {
		if _, err := io.WriteString(w, head.head()); err != nil {
			return err
		}
		return writeRules(w, rules)
	})
	if err != nil {
		t.discard()
		return nil, fmt.Errorf("write copy: %w", err)
	}
	return t, nil
}

// commit puts the copy into its place in one step.
func (t *pending) commit() error {
	if err := os.Rename(t.temporary, t.path); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	return nil
}

// discard removes what was not committed.
func (t *pending) discard() { removeQuietly(t.temporary) }

// createFile makes a file of 0600 in a directory of 0700 and has it on the
// medium before it returns.
func createFile(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 32<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// writeFile replaces a small file in one step.
func writeFile(path string, text []byte) error {
	next := path + ".new"
	if err := createFile(next, func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(text)); return err }); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// removeQuietly removes a file that need not be there. What cannot be removed
// harms nothing but the space it takes.
func removeQuietly(path string) { _ = os.Remove(path) }
