package pack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The format of keys and signatures is that of OpenBSD's signify(1), which
// OpenWrt's usign speaks: one line of comment, one of base64.
//
//	public key   "Ed" number(8) key(32)
//	secret key   "Ed" "BK" rounds(4) salt(16) checksum(8) number(8) key(64)
//	signature    "Ed" number(8) signature(64)
//
// rounds are 0: the key is not encrypted. The checksum is the beginning of the
// key's SHA-512. opkg looks for the public key in /etc/opkg/keys under the number
// in hexadecimal.

const (
	algorithm  = "Ed"
	derivation = "BK"
	comment    = "untrusted comment: "
	numberSize = 8
	saltSize   = 16
	sumSize    = 8
)

// ErrKey says that a file is no key of usign's, or one with a password.
var ErrKey = errors.New("no usign key")

// SigningKey signs indexes for opkg.
type SigningKey struct {
	number [numberSize]byte
	key    ed25519.PrivateKey
}

// NewSigningKey makes a key from a source of randomness.
func NewSigningKey(random io.Reader) (SigningKey, error) {
	var k SigningKey
	if _, err := io.ReadFull(random, k.number[:]); err != nil {
		return SigningKey{}, fmt.Errorf("make key: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return SigningKey{}, fmt.Errorf("make key: %w", err)
	}
	k.key = ed25519.NewKeyFromSeed(seed)
	return k, nil
}

// ParseSigningKey reads a secret key.
func ParseSigningKey(file []byte) (SigningKey, error) {
	raw, err := decodeLines(file)
	if err != nil {
		return SigningKey{}, err
	}
	const head = len(algorithm) + len(derivation)
	const rounds, size = 4, head + 4 + saltSize + sumSize + numberSize + ed25519.PrivateKeySize
	switch {
	case len(raw) != size || !bytes.HasPrefix(raw, []byte(algorithm+derivation)):
		return SigningKey{}, fmt.Errorf("%w: not the form of a secret key", ErrKey)
	case !bytes.Equal(raw[head:head+rounds], make([]byte, rounds)):
		return SigningKey{}, fmt.Errorf("%w: it has a password, which is not supported", ErrKey)
	}
	rest := raw[head+rounds+saltSize:]
	var k SigningKey
	copy(k.number[:], rest[sumSize:])
	k.key = bytes.Clone(rest[sumSize+numberSize:])
	sum := sha512.Sum512(k.key)
	if !bytes.Equal(sum[:sumSize], rest[:sumSize]) {
		return SigningKey{}, fmt.Errorf("%w: its checksum is wrong", ErrKey)
	}
	return k, nil
}

// Secret is the file of the secret key.
func (k SigningKey) Secret() []byte {
	sum := sha512.Sum512(k.key)
	raw := append([]byte(algorithm+derivation), make([]byte, 4+saltSize)...)
	raw = append(raw, sum[:sumSize]...)
	raw = append(raw, k.number[:]...)
	return encodeLines("private key "+k.Fingerprint(), append(raw, k.key...))
}

// Public is the file of the public key.
func (k SigningKey) Public() []byte {
	raw := append([]byte(algorithm), k.number[:]...)
	return encodeLines("public key "+k.Fingerprint(), append(raw, k.public()...))
}

func (k SigningKey) public() ed25519.PublicKey { return ed25519.PublicKey(k.key[ed25519.SeedSize:]) }

// Fingerprint is the name of the public key in /etc/opkg/keys.
func (k SigningKey) Fingerprint() string { return hex.EncodeToString(k.number[:]) }

// Sign makes the file of a signature.
func (k SigningKey) Sign(message []byte) []byte {
	raw := append([]byte(algorithm), k.number[:]...)
	return encodeLines("signed by key "+k.Fingerprint(), append(raw, ed25519.Sign(k.key, message)...))
}

func encodeLines(text string, raw []byte) []byte {
	return []byte(comment + text + "\n" + base64.StdEncoding.EncodeToString(raw) + "\n")
}

func decodeLines(file []byte) ([]byte, error) {
	first, rest, ok := strings.Cut(string(file), "\n")
	if !ok || !strings.HasPrefix(first, comment) {
		return nil, fmt.Errorf("%w: the first line is no comment", ErrKey)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil {
		return nil, fmt.Errorf("%w: the second line is not base64", ErrKey)
	}
	return raw, nil
}
