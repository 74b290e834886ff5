package web

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
)

// Types of frames, RFC 9113 6.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePushPromise  = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
	frameContinuation = 9
)

// Flags of frames.
const (
	flagAck        = 0x1 // SETTINGS, PING
	flagEndStream  = 0x1 // DATA, HEADERS
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings, RFC 9113 6.5.2.
const (
	settingTable      = 1 // of the decoder of headers, bytes
	settingPush       = 2
	settingStreams    = 3 // at a time
	settingWindow     = 4 // of a new stream, bytes
	settingHeaderList = 6 // bytes
)

// errorCode is a code of RFC 9113 7. As an error it ends a connection.
type errorCode uint32

const (
	codeNone        errorCode = 0
	codeProtocol    errorCode = 1
	codeFlowControl errorCode = 3
	codeFrameSize   errorCode = 6
	codeRefused     errorCode = 7
	codeCancel      errorCode = 8
	codeCompression errorCode = 9
	codeCalm        errorCode = 11
)

// Error gives the code's number and, of those that we give ourselves, the name.
func (c errorCode) Error() string {
	name := map[errorCode]string{
		codeNone: "no error", codeProtocol: "protocol error", codeFlowControl: "flow control", codeFrameSize: "frame size",
		codeRefused: "refused", codeCancel: "cancelled", codeCompression: "compression", codeCalm: "too much without an answer",
	}[c]
	if name == "" {
		name = "code " + strconv.FormatUint(uint64(c), 10)
	}
	return "HTTP/2: " + name
}

const (
	frameHead = 9
	// maxFrame is the largest frame that anybody may send unasked; we never ask for
	// larger ones.
	maxFrame = 16 << 10
	// maxWindow is the largest that a window may become.
	maxWindow = 1<<31 - 1
	// firstWindow is the size of windows before any settings.
	firstWindow = 65535
)

// frame is a frame as it came; payload is valid until the next one is read.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// readFrame reads a frame into buf, which has room for maxFrame.
func readFrame(in io.Reader, buf []byte) (frame, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return frame{}, err
	}
	size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if size > maxFrame {
		return frame{}, codeFrameSize
	}
	f := frame{head[3], head[4], binary.BigEndian.Uint32(head[5:]) & maxWindow, buf[:size]}
	if _, err := io.ReadFull(in, f.payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return f, nil
}

// appendFrame appends a frame.
func appendFrame(out []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	out = append(out, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	out = binary.BigEndian.AppendUint32(out, stream)
	return append(out, payload...)
}

// unpadded takes padding and, of HEADERS, the priority off a payload.
func (f *frame) unpadded() ([]byte, error) {
	p := f.payload
	padding := 0
	if f.has(flagPadded) {
		if len(p) == 0 {
			return nil, codeFrameSize
		}
		padding, p = int(p[0]), p[1:]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(p) < 5 {
			return nil, codeFrameSize
		}
		p = p[5:]
	}
	if padding > len(p) {
		return nil, codeProtocol
	}
	return p[:len(p)-padding], nil
}
