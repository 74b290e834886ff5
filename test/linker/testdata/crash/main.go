// Crash ends, or tells where it is, in the ways in which a program tells that.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

type box struct{ inner *box }

// depth is inlined into open, open into nothing.
func (b *box) depth() int {
	if b.inner == nil {
		return 0
	}
	return 1 + len(os.Args[b.inner.inner.size():])
}

func (b *box) size() int { return len(os.Args) * b.number() }

//go:noinline
func (b *box) number() int { return len(fmt.Sprint(*b.inner)) }

//go:noinline
func open(b *box) int { return b.depth() }

//go:noinline
func wait(there, c chan struct{}) {
	close(there)
	<-c
}

func tell() {
	pc, file, line, ok := runtime.Caller(0)
	fmt.Println("caller", runtime.FuncForPC(pc).Name(), file, line, ok)
	pcs := make([]uintptr, 8)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Println("frame", f.Function, f.File, f.Line)
	}
	slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{AddSource: true})).Info("with source")
	defer func() {
		fmt.Println("recovered", recover())
		os.Stdout.Write(debug.Stack())
	}()
	open(&box{inner: &box{}})
}

func main() {
	switch os.Args[1] {
	case "tell":
		tell()
	case "panic":
		go open(&box{inner: &box{}})
		time.Sleep(time.Hour)
	case "dump":
		there := make(chan struct{})
		go wait(there, make(chan struct{}))
		<-there
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "overflow":
		var fall func(int) int
		fall = func(n int) int { return fall(n+1) + 1 }
		fmt.Println(fall(0))
	}
}
