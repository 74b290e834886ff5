package ebpf

import (
	"encoding/binary"
	"strings"
)

// refHello is a client's hello (RFC 8446 section 4.1.2, RFC 6066 section 3) that
// comes in parts. Of the stream only the first record is read. What bpf/hello.h
// promises not to read: a first part of less than 44 octets, and what has to be
// seen whole but lies in three parts.
type refHello struct {
	b      []byte
	ends   []int // of the parts
	at     int
	end    int // of the record
	failed bool
}

// refTail is how much of one part can be kept for the next.
const refTail = 264

// refHelloName gives the server's name and the part in which it is whole.
func refHelloName(stream []byte, ends []int) (name string, part int, ok bool) {
	if ends[0] < 44 || stream[0] != 22 || stream[1] != 3 || stream[5] != 1 {
		return "", 0, false
	}
	r := refHello{b: stream, ends: ends, at: 43, end: 5 + int(binary.BigEndian.Uint16(stream[3:]))}
	r.skip(r.number(1)) // session
	r.skip(r.number(2)) // cipher suites
	r.skip(r.number(1)) // compression
	r.number(2)         // extensions; where the record ends is what counts
	for !r.failed {
		begin := r.at
		head := r.number(4)
		n := head & 0xffff
		if head>>16 != 0 {
			r.skip(n)
			continue
		}
		r.at = begin
		b := r.take(4 + n)
		if r.failed {
			break
		}
		name, ok := refServerName(b[4:])
		return name, r.part(r.at - 1), ok
	}
	return "", 0, false
}

// part is the number of the part that has an octet.
func (r *refHello) part(at int) int {
	for i, end := range r.ends {
		if at < end {
			return i
		}
	}
	return len(r.ends)
}

// take gives octets that must be seen together.
func (r *refHello) take(n int) []byte {
	from, to := r.at, r.at+n
	if r.failed || to > r.end || to > len(r.b) {
		r.failed = true
		return nil
	}
	if n > 0 {
		first, last := r.part(from), r.part(to-1)
		r.failed = last > first+1 || last > first && r.ends[first]-from > refTail
	}
	r.at = to
	return r.b[from:to]
}

func (r *refHello) skip(n int) {
	r.at += n
	r.failed = r.failed || r.at > r.end
}

func (r *refHello) number(size int) int {
	n := 0
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return n
}

// refServerName reads the extension: a list whose first entry is a host name.
func refServerName(b []byte) (string, bool) {
	if len(b) < 5 || b[2] != 0 {
		return "", false
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n == 0 || n > 253 || 5+n > len(b) {
		return "", false
	}
	name := string(b[5 : 5+n])
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	return name, true
}

// refHelloQuestion is a host name as a DNS question has it.
func refHelloQuestion(name string) refQuestion {
	var q refQuestion
	for label := range strings.SplitSeq(name, ".") {
		q.labels = append(q.labels, len(q.name))
		q.name = append(append(q.name, byte(len(label))), label...)
	}
	return q
}
