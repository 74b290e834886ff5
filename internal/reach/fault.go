package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/routerd/routerd/internal/dns"
)

// errBudget ends a check that has taken all the bytes that it may.
var errBudget = errors.New("the check has taken all the bytes that it may")

// failure says in what way a step failed; nil is success.
func failure(err error) Failure {
	if err == nil {
		return Failure{}
	}
	return Failure{faultOf(err), textOf(err)}
}

// errnoFaults are the errors of sockets that mean something.
var errnoFaults = [...]struct {
	errno syscall.Errno
	fault Fault
}{
	{syscall.ECONNREFUSED, FaultRefused},
	{syscall.ECONNRESET, FaultReset},
	{syscall.EPIPE, FaultReset},
	{syscall.ECONNABORTED, FaultReset},
	{syscall.ETIMEDOUT, FaultTimeout},
	{syscall.EHOSTUNREACH, FaultUnreachable},
	{syscall.ENETUNREACH, FaultUnreachable},
	{syscall.ENETDOWN, FaultUnreachable},
	{syscall.EHOSTDOWN, FaultUnreachable},
	{syscall.EADDRNOTAVAIL, FaultUnreachable},
	{syscall.EAFNOSUPPORT, FaultUnreachable},
	{syscall.EACCES, FaultUnreachable}, // a prohibit route
	{syscall.EPERM, FaultUnreachable},  // a firewall of the router's own
	{syscall.EINVAL, FaultUnreachable}, // a blackhole route
}

func faultOf(err error) Fault {
	if errors.Is(err, dns.ErrPathDown) {
		return FaultPath
	}
	for _, e := range errnoFaults {
		if errors.Is(err, e.errno) {
			return e.fault
		}
	}
	operation := (*net.OpError)(nil)
	record := tls.RecordHeaderError{}
	switch {
	case errors.Is(err, errSlow):
		return FaultSlow
	case isTimeout(err):
		return FaultTimeout
	case isEnd(err):
		return FaultClosed
	case errors.As(err, &operation) && operation.Op == "remote error":
		return FaultAlert
	case errors.As(err, &record), strings.Contains(err.Error(), "tls: "):
		return FaultGarbage
	}
	return FaultOther
}

func isTimeout(err error) bool {
	timeout := net.Error(nil)
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// maxText bounds what is kept of an error, in bytes: some of it comes from the
// other side.
const maxText = 160

// textOf is the innermost error: without addresses and ports, which differ from
// check to check.
func textOf(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return clean(strings.TrimPrefix(err.Error(), "tls: "))
}

// clean makes one short line of text that came from anywhere.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}
