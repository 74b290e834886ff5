// Package job is what a machine is told to do and what it tells of it: all that
// the program in a machine and the one outside must agree on.
package job

import (
	"fmt"
	"time"
)

// File is where a machine finds its Job, as JSON.
const File = "/job.json"

// Job is one command for a machine.
type Job struct {
	// ID is in the lines that the machine writes about the command.
	ID   string
	Argv []string
	// Dir is the folder that the command is started in.
	Dir string
	// Env is added to a machine's usual environment, each as NAME=value.
	Env []string
	// Tools is the disk with the tools' file system; "" where there is none.
	Tools string
	// Shares are folders of the outer machine, found at the same path inside.
	Shares []Share
	// Timer is the clock event device that the kernel must have taken; "" for any.
	Timer string
	// Now sets the clock: some machines have none.
	Now time.Time
	// Terminal says that a person types.
	Terminal      bool
	Rows, Columns uint16
}

// Share is a folder of the outer machine, read-only.
type Share struct{ Tag, Path string }

// Result is what came of a job.
type Result struct {
	// Status is the exit status as a shell gives it: 128 and the signal's number
	// for a command that a signal ended.
	Status int
	// Total and Peak are the machine's memory and the most of it that was in use
	// at once, the kernel's included, without what the kernel could have given
	// back (MemTotal-MemAvailable); KiB.
	Total, Peak int
	// Resident is the most that one process of the command had in memory, KiB.
	Resident int
	// Work is what the emulator took of this machine's processors, the boot
	// included, ms. The machine itself does not know it: 0 in what it tells.
	Work int
	// Hung says that the emulator did nothing any more and was ended: the rest is 0.
	// The machine itself cannot tell.
	Hung bool `json:",omitempty"`
}

// Begin is the line before the command's first octet, with its line end.
func (j Job) Begin() string { return "\nmachine " + j.ID + " begins\n" }

// Mark is how the line after the command's last octet begins, with the line end
// before it.
func (j Job) Mark() string { return "\nmachine " + j.ID + " ends " }

// End is the whole of that line.
func (j Job) End(r Result) string {
	return fmt.Sprintf("%sstatus %d total %d peak %d resident %d\n", j.Mark(), r.Status, r.Total, r.Peak, r.Resident)
}

// ParseResult reads what follows Mark on its line.
func ParseResult(line string) (Result, error) {
	var r Result
	if _, err := fmt.Sscanf(line, "status %d total %d peak %d resident %d", &r.Status, &r.Total, &r.Peak, &r.Resident); err != nil {
		return Result{}, fmt.Errorf("parse the machine's last line %q: %w", line, err)
	}
	return r, nil
}
