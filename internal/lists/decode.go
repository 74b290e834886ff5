package lists

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/routerd/routerd/internal/catalogue"
)

// progressStep is how many bytes lie between two reports at least.
const progressStep = 64 << 10

// countingReader bounds what is read and reports how far it is. An error stays:
// what is built on it may look ahead, pass over the error and read again, and a
// body that was cut off must not end as if it were whole.
type countingReader struct {
	r        io.Reader
	limit    int64
	done     int64
	told     int64
	err      error
	progress func(done int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	if c.err == nil && c.done > c.limit {
		c.err = fmt.Errorf("%w: at most %d bytes are received", catalogue.ErrListTooLarge, c.limit)
	}
	if c.err != nil {
		return 0, c.err
	}
	var n int
	n, c.err = c.r.Read(p[:min(int64(len(p)), c.limit+1-c.done)])
	c.done += int64(n)
	if c.done-c.told >= progressStep {
		c.end()
	}
	return n, c.err
}

// end reports what has been read.
func (c *countingReader) end() {
	c.told = c.done
	c.progress(c.done)
}

// maxZips is how many layers of gzip are taken off: a file that is compressed,
// and sent compressed once more.
const maxZips = 2

// unzipped takes gzip off a stream that begins as such. What it expands to is
// bounded by who reads it.
func unzipped(r io.Reader) (io.Reader, error) {
	for range maxZips {
		b := bufio.NewReader(r)
		r = b
		if head, _ := b.Peek(2); !bytes.Equal(head, []byte{0x1f, 0x8b}) {
			break
		}
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		r = z
	}
	return r, nil
}
