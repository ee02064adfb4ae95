// Package envelope seals and opens the encrypted bodies of the operator's
// POST endpoints, for both sides: a client seals requests and opens responses,
// an operator opens requests and seals responses. It knows no HTTP, no base64
// text mode and no configuration.
//
// Layouts (docs, "Encryption and decryption"; operator V2RequestUtil.java and
// V2PayloadHandler.java; shared encryption/AesGcm.java):
//
//	request:  version 1 (1 byte) | IV (12) | ciphertext | tag (16)
//	response:                      IV (12) | ciphertext | tag (16)
//	plaintext of both: Unix time in ms (int64, big endian) | nonce (8) | payload
//
// The cipher is AES-256-GCM under the client secret, without additional data:
// the version byte is not authenticated.
package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"optsweep/schemas"
)

// Version is the first byte of a request envelope.
const Version = 1

const (
	ivSize     = 12
	tagSize    = 16
	headerSize = 16 // time and nonce
)

// Bytes that sealing adds to a payload, which are also the sizes of the
// smallest envelopes.
const (
	RequestOverhead  = 1 + ResponseOverhead
	ResponseOverhead = ivSize + headerSize + tagSize
)

// Reasons for not opening an envelope; see also VersionError.
var (
	ErrShort = errors.New("envelope is too short")
	ErrAuth  = errors.New("envelope does not open with this client secret")
	ErrNonce = errors.New("envelope answers another request")
)

// VersionError says that a request envelope is not of Version.
type VersionError struct{ Got byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("envelope version is %d, not %d", e.Got, Version)
}

// Nonce ties a response to its request.
type Nonce [8]byte

// Request is the content of an envelope in either direction.
type Request struct {
	TimeMS  int64 // Unix time in ms of the sender
	Nonce   Nonce // of a response: the nonce of its request
	Payload []byte
}

// Cipher seals and opens under one client secret. It is safe for concurrent
// use and shows "redacted" however it is printed.
type Cipher struct{ aead cipher.AEAD }

// NewCipher makes a cipher of a client secret: standard base64 of 32 bytes.
func NewCipher(secret schemas.Secret) (*Cipher, error) {
	key, err := base64.StdEncoding.DecodeString(secret.Reveal())
	if err != nil || len(key) != 32 { // err would tell about the secret
		return nil, schemas.Errorf(schemas.Usage, "client secret is not standard base64 of 32 bytes").
			WithHint("copy the client secret that belongs to the API key: 44 characters that end in =")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("client secret: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("client secret: %w", err)
	}
	return &Cipher{aead: aead}, nil
}

// Format hides the key from every verb.
func (c Cipher) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redacted")) }

// MarshalText hides the key from JSON and YAML.
func (c Cipher) MarshalText() ([]byte, error) { return []byte("redacted"), nil }

// LogValue hides the key from log/slog.
func (c Cipher) LogValue() slog.Value { return slog.StringValue("redacted") }

// SealRequest appends the request envelope of r to dst. An iv must never be
// used twice under one secret. r.Payload must not share memory with the room
// behind dst.
func (c *Cipher) SealRequest(dst []byte, r Request, iv [12]byte) []byte {
	dst = slices.Grow(dst, RequestOverhead+len(r.Payload))
	return c.seal(append(dst, Version), r, iv)
}

// SealResponse appends the response envelope of r, whose Nonce is that of the
// request, to dst. The rules of SealRequest hold.
func (c *Cipher) SealResponse(dst []byte, r Request, iv [12]byte) []byte {
	dst = slices.Grow(dst, ResponseOverhead+len(r.Payload))
	return c.seal(dst, r, iv)
}

// seal writes the plaintext to where its ciphertext goes and encrypts it there.
func (c *Cipher) seal(dst []byte, r Request, iv [12]byte) []byte {
	start := len(dst)
	dst = append(dst, iv[:]...)
	body := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.TimeMS))
	dst = append(dst, r.Nonce[:]...)
	dst = append(dst, r.Payload...)
	return c.aead.Seal(dst[:body], dst[start:body], dst[body:], nil)
}

// OpenRequest opens a request envelope. The payload it returns lies behind
// dst, which may be nil; pass sealed[13:13] to decrypt in place, and otherwise
// memory that sealed does not overlap.
//
// Errors, in the operator's order of checks: ErrShort below RequestOverhead
// bytes, *VersionError, ErrAuth. Whether TimeMS is recent is left to the
// caller.
func (c *Cipher) OpenRequest(dst, sealed []byte) (Request, error) {
	if len(sealed) < RequestOverhead {
		return Request{}, ErrShort
	}
	if sealed[0] != Version {
		return Request{}, &VersionError{Got: sealed[0]}
	}
	return c.open(dst, sealed[1:])
}

// OpenResponse opens the response envelope to the request with nonce want. The
// payload it returns lies behind dst, which may be nil; pass sealed[12:12] to
// decrypt in place, and otherwise memory that sealed does not overlap.
//
// Errors: ErrShort below ResponseOverhead bytes, ErrAuth, ErrNonce.
func (c *Cipher) OpenResponse(dst, sealed []byte, want Nonce) (Request, error) {
	if len(sealed) < ResponseOverhead {
		return Request{}, ErrShort
	}
	r, err := c.open(dst, sealed)
	if err != nil {
		return Request{}, err
	}
	if r.Nonce != want {
		return Request{}, ErrNonce
	}
	return r, nil
}

func (c *Cipher) open(dst, sealed []byte) (Request, error) {
	plain, err := c.aead.Open(dst, sealed[:ivSize], sealed[ivSize:], nil)
	if err != nil {
		return Request{}, ErrAuth
	}
	plain = plain[len(dst):]
	return Request{
		TimeMS:  int64(binary.BigEndian.Uint64(plain)),
		Nonce:   Nonce(plain[8:headerSize]),
		Payload: plain[headerSize:],
	}, nil
}
