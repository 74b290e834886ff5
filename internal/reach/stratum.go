package reach

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// subscribe is what a check sends to a pool: what cgminer begins with. No name of
// a worker is ever sent, so that nobody is authorised.
const subscribe = `{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.12.1"]}` + "\n"

// Bounds of what a pool may say before it answers.
const (
	maxLines = 32
	maxReply = 16 << 10
)

var errNotStratum = errors.New("the answer is not Stratum")

// stratum subscribes, and closes once there is an answer.
func (x *probe) stratum(ctx context.Context, conn net.Conn) *Reply {
	r := &Reply{}
	began := time.Now()
	err := x.timed(ctx, conn, x.o.Times.Answer, func() (err error) {
		if _, err = io.WriteString(conn, subscribe); err != nil {
			return err
		}
		r.Rejected, err = readReply(conn)
		return err
	})
	r.Took, r.Failure = time.Since(began), failure(err)
	if errors.Is(err, errNotStratum) {
		r.Failure.Fault = FaultGarbage
	}
	return r
}

// stratumMessage is what of a pool's message is of interest.
type stratumMessage struct {
	ID     json.RawMessage `json:"id"`
	Method *string         `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// readReply reads a pool's lines up to the answer and gives the error that it
// holds. An answer that does not know the method is none: pools of other coins
// speak other dialects, and have been reached.
func readReply(conn io.Reader) (rejected string, err error) {
	in := bufio.NewReaderSize(io.LimitReader(conn, maxReply), 4<<10)
	for range maxLines {
		line, err := in.ReadBytes('\n')
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return "", err
		}
		if len(strings.TrimSpace(string(line))) == 0 {
			continue
		}
		var m stratumMessage
		if json.Unmarshal(line, &m) != nil {
			return "", fmt.Errorf("%w: %s", errNotStratum, clean(strings.TrimSpace(string(line))))
		}
		if m.Method != nil || empty(m.Result) && empty(m.Error) {
			continue // it tells something unasked, such as a difficulty
		}
		return m.rejection(), nil
	}
	return "", fmt.Errorf("%w: %d lines without an answer", errNotStratum, maxLines)
}

func empty(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// rejection is the error of an answer as text: Stratum's own form is
// [code, text, traceback], JSON-RPC's {code, message}; others have a text alone.
func (m stratumMessage) rejection() string {
	if empty(m.Error) || string(m.Error) == "false" || string(m.Error) == "[]" {
		return ""
	}
	text := errorText(m.Error)
	if unknownMethod(text) {
		return ""
	}
	return clean(text)
}

func errorText(raw json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) > 1 {
		raw = list[1]
	}
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		return plain
	}
	var object struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return object.Message
	}
	return string(raw)
}

// unknownMethod says whether a pool answers that it does not speak this dialect.
func unknownMethod(text string) bool {
	text = strings.ToLower(text)
	if !strings.Contains(text, "method") && !strings.Contains(text, "command") {
		return false
	}
	for _, word := range []string{"unknown", "unsupported", "not supported", "invalid", "not found", "no such", "unrecognized"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
