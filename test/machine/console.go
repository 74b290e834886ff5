package machine

import (
	"bytes"
	"io"

	"github.com/routerd/routerd/test/machine/job"
)

// console takes what a machine writes and passes the command's part on, octet
// for octet and at once.
type console struct {
	job  job.Job
	out  io.Writer
	held []byte // what may be part of a line of the machine's own
	boot []byte // the end of what came before the command
	on   bool   // the command has begun
	// result is that of the command, nil until it has ended.
	result *job.Result
}

// maxBoot bounds what is kept of a boot.
const maxBoot = 64 << 10

// Write passes on what is the command's. It is an error to write once the
// command has ended.
func (c *console) Write(b []byte) (int, error) {
	if c.result != nil {
		return len(b), nil
	}
	c.held = append(c.held, b...)
	if !c.on {
		c.begin()
	}
	if !c.on {
		return len(b), nil
	}
	return len(b), c.pass()
}

// begin looks for the line before the command's first octet. Until the console
// has its mode, line ends come with a carriage return.
func (c *console) begin() {
	for _, line := range []string{c.job.Begin(), string(bytes.ReplaceAll([]byte(c.job.Begin()), []byte("\n"), []byte("\r\n")))} {
		if before, after, found := bytes.Cut(c.held, []byte(line)); found {
			c.boot, c.held, c.on = bytes.Clone(before), bytes.Clone(after), true
			return
		}
	}
	if over := len(c.held) - maxBoot; over > 0 {
		c.held = bytes.Clone(c.held[over:])
	}
}

// pass writes all but what may be the beginning of the last line.
func (c *console) pass() error {
	mark := []byte(c.job.Mark())
	if c.job.Terminal {
		mark = bytes.ReplaceAll(mark, []byte("\n"), []byte("\r\n"))
	}
	before, after, found := bytes.Cut(c.held, mark)
	if found {
		line, _, whole := bytes.Cut(after, []byte("\n"))
		if !whole {
			return nil
		}
		r, err := job.ParseResult(string(line))
		if err != nil {
			return err
		}
		c.result, c.held = &r, nil
		_, err = c.out.Write(before)
		return err
	}
	keep := 0
	for n := min(len(mark)-1, len(c.held)); n > 0; n-- {
		if bytes.HasSuffix(c.held, mark[:n]) {
			keep = n
			break
		}
	}
	ready := c.held[:len(c.held)-keep]
	c.held = bytes.Clone(c.held[len(c.held)-keep:])
	_, err := c.out.Write(ready)
	return err
}

// tail is the end of what the machine wrote before the command, for errors.
func (c *console) tail() string {
	text := c.boot
	if !c.on {
		text = c.held
	}
	return lastLines(string(bytes.ReplaceAll(text, []byte("\r"), nil)), 20)
}
