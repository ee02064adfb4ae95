package schemas

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
)

// IDSize is the width in bytes of an ID in memory and on disk.
const IDSize = 33

// TextSize is the length of every advertising id in its canonical text form:
// standard base64 (RFC 4648 section 4, padded). 32 bytes give 43 characters
// and one '=', 33 bytes give 44 characters and no padding.
const TextSize = 44

// v2Tag stands in byte 0 of an ID that was minted without a prefix byte. It
// cannot collide with a real prefix: those have bits 1-0 clear.
const v2Tag = 0xFF

// ID is a validated advertising id (a raw EUID or raw UID2) in binary form.
//
// A v3 or v4 id is stored as its own 33 bytes. A v2 id has only 32 bytes and
// is stored behind the tag 0xFF, so that all ids have one width, compare with
// ==, and sort as bytes. Make one with Rules.Parse; the zero value is no id.
//
// However it is printed, logged or marshalled, an ID shows "id:redacted".
// Use Pseudonyms to show an id in a way that can be told from another. One gap
// remains: fmt cannot call the methods of unexported fields, so a struct that
// holds an ID in one must not be printed.
type ID [IDSize]byte

// Version is the generation of an advertising id's layout.
type Version uint8

// The layouts of operator service/TokenUtils.java and V4TokenUtils.java.
const (
	V2 Version = 2 // 32 bytes, carries neither scope nor type
	V3 Version = 3 // prefix byte and 32 bytes
	V4 Version = 4 // metadata byte, key id, IV, cipher text, XOR checksum
)

// Version tells which layout the id has.
func (id ID) Version() Version {
	switch {
	case id[0] == v2Tag:
		return V2
	case id[0]&prefixV4 != 0:
		return V4
	default:
		return V3
	}
}

// Scope tells which identity the id belongs to; ok is false for a v2 id, which
// does not say.
func (id ID) Scope() (scope Scope, ok bool) {
	if id[0] == v2Tag {
		return "", false
	}
	if id[0]&prefixEUID != 0 {
		return EUID, true
	}
	return UID2, true
}

// Raw returns the bytes that the base64 text stands for: 32 for v2, 33 for v3
// and v4. They share memory with id.
func (id *ID) Raw() []byte {
	if id[0] == v2Tag {
		return id[1:]
	}
	return id[:]
}

// AppendText appends the canonical base64 text, which is the raw id in the
// clear: it belongs in a request to an operator and nowhere else.
func (id ID) AppendText(dst []byte) []byte {
	return base64.StdEncoding.AppendEncode(dst, id.Raw())
}

// FromRaw makes an ID of 32 (v2) or 33 (v3, v4) bytes as they stand in an
// opt-out log, without checking scope or environment.
func FromRaw(raw []byte) (ID, error) {
	var id ID
	switch len(raw) {
	case 32:
		id[0] = v2Tag
		copy(id[1:], raw)
	case 33:
		if reason := checkPrefix(raw[0]); reason != Valid {
			return ID{}, fmt.Errorf("advertising id: %s", reason)
		}
		copy(id[:], raw)
	default:
		return ID{}, fmt.Errorf("advertising id: %d bytes, want 32 or 33", len(raw))
	}
	return id, nil
}

// Compare orders ids as bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

const redactedID = "id:redacted"

// String hides the id.
func (id ID) String() string { return redactedID }

// GoString hides the id from %#v.
func (id ID) GoString() string { return redactedID }

// Format hides the id from every verb, %x and %v alike.
func (id ID) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedID)) }

// MarshalText hides the id from JSON, YAML and CSV encoders.
func (id ID) MarshalText() ([]byte, error) { return []byte(redactedID), nil }

// LogValue hides the id from log/slog.
func (id ID) LogValue() slog.Value { return slog.StringValue(redactedID) }
