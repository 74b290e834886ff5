package interfere

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// quicInspector follows clients' Initial packets of QUIC version 1 until their
// ClientHello is whole; the keys are made of what stands in the packets (RFC
// 9001 section 5.2). It is not for use by several goroutines.
type quicInspector struct {
	covers func(name string) bool
	flows  map[flowKey]*quicFlow
}

// quicFlow is what has been seen of a connection.
type quicFlow struct {
	keys   *quicKeys
	crypto map[uint64][]byte // CRYPTO frames by offset
	cut    bool
}

func newQUICInspector(covers func(string) bool) *quicInspector {
	return &quicInspector{covers: covers, flows: map[flowKey]*quicFlow{}}
}

// see takes the next datagram of a client and says whether its connection names
// a name looked for.
func (i *quicInspector) see(p packet) bool {
	key := flowKey{p.src.String(), p.dst.String()}
	f := i.flows[key]
	if f == nil {
		if len(i.flows) >= maxFlows {
			clear(i.flows)
		}
		f = &quicFlow{crypto: map[uint64][]byte{}}
		i.flows[key] = f
	}
	if f.cut {
		return true
	}
	for rest := p.payload; len(rest) > 0; {
		var frames []byte
		if frames, rest = f.open(rest); frames == nil {
			continue
		}
		f.readFrames(frames)
	}
	name, ok := helloName(f.hello())
	f.cut = ok == found && i.covers(name)
	return f.cut
}

// hello is the beginning of the handshake that is known without a hole.
func (f *quicFlow) hello() []byte {
	var out []byte
	for {
		part, ok := f.crypto[uint64(len(out))]
		if !ok || len(part) == 0 || len(out) > maxHello {
			return out
		}
		out = append(out, part...)
	}
}

// open decrypts the first packet of a datagram if it is an Initial, and gives
// what follows it.
func (f *quicFlow) open(b []byte) (frames, rest []byte) {
	// The long header of an Initial, version 1.
	if len(b) < 7 || b[0]&0xf0 != 0xc0 || !bytes.Equal(b[1:5], []byte{0, 0, 0, 1}) {
		return nil, nil
	}
	r := &reader{b: b[5:]}
	destination := r.vector(1)
	r.vector(1) // source
	r.take(int(varint(r)))
	length := int(varint(r))
	if r.short || length < 20 || length > len(r.b) {
		return nil, nil
	}
	at := len(b) - len(r.b) // of the packet number
	one, rest := slices.Clone(b[:at+length]), b[at+length:]
	if f.keys == nil {
		keys, err := newQUICKeys(destination)
		if err != nil {
			return nil, rest
		}
		f.keys = keys
	}
	frames, _ = f.keys.open(one, at) // nil for what is no client's Initial
	return frames, rest
}

// varint reads a number of RFC 9000 section 16.
func varint(r *reader) uint64 {
	first := r.take(1)
	if first == nil {
		return 0
	}
	out := uint64(first[0] & 0x3f)
	for _, c := range r.take(1<<(first[0]>>6) - 1) {
		out = out<<8 | uint64(c)
	}
	return out
}

// readFrames notes CRYPTO frames; PADDING, PING and ACK are stepped over.
func (f *quicFlow) readFrames(frames []byte) {
	for r := (&reader{b: frames}); len(r.b) > 0 && !r.short; {
		switch kind := varint(r); kind {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			varint(r)
			varint(r)
			ranges := varint(r)
			for n := 1 + 2*min(ranges, 256); n > 0; n-- {
				varint(r)
			}
		case 6: // CRYPTO
			offset := varint(r)
			if part := r.take(int(min(varint(r), maxHello))); !r.short {
				f.crypto[offset] = slices.Clone(part)
			}
		default:
			return
		}
	}
}

// quicKeys protect a client's Initial packets.
type quicKeys struct {
	aead   cipher.AEAD
	iv     []byte
	header cipher.Block
}

// quicSalt is that of version 1 (RFC 9001 section 5.2).
const quicSalt = "38762cf7f55934b34d179ae6" + "a4c80cadccbb7f0a"

func newQUICKeys(destination []byte) (*quicKeys, error) {
	salt, err := hex.DecodeString(quicSalt)
	if err != nil {
		return nil, err
	}
	initial, err := hkdf.Extract(sha256.New, destination, salt)
	if err != nil {
		return nil, err
	}
	client, err := expand(initial, "client in", 32)
	if err != nil {
		return nil, err
	}
	k := &quicKeys{}
	var key, header []byte
	for _, part := range []struct {
		label string
		size  int
		to    *[]byte
	}{{"quic key", 16, &key}, {"quic iv", 12, &k.iv}, {"quic hp", 16, &header}} {
		if *part.to, err = expand(client, part.label, part.size); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	k.header, err = aes.NewCipher(header)
	return k, err
}

// expand is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
func expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	var info strings.Builder
	info.Write([]byte{byte(size >> 8), byte(size), byte(len(label))})
	info.WriteString(label)
	info.WriteByte(0)
	return hkdf.Expand(sha256.New, secret, info.String(), size)
}

// open takes the protection off a packet whose number stands at an offset; it
// changes b.
func (k *quicKeys) open(b []byte, at int) ([]byte, error) {
	if len(b) < at+20 {
		return nil, errors.New("packet too short")
	}
	var mask [16]byte
	k.header.Encrypt(mask[:], b[at+4:at+20])
	b[0] ^= mask[0] & 0x0f
	size := int(b[0]&3) + 1
	nonce := slices.Clone(k.iv)
	for i := range size {
		b[at+i] ^= mask[1+i]
		nonce[len(nonce)-size+i] ^= b[at+i]
	}
	return k.aead.Open(nil, nonce, b[at+size:], b[:at+size])
}
