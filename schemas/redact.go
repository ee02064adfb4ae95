package schemas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"unique"
)

// Pseudonyms turn ids into short names that tell two ids apart without giving
// either away: "id:" and 12 hexadecimal digits of HMAC-SHA-256 under a key
// that stays in the workspace. Make them with NewPseudonyms.
type Pseudonyms struct {
	sum, long func([]byte) string // functions, so that fmt never shows the key: see Secret
}

// NewPseudonyms makes pseudonyms under key.
func NewPseudonyms(key [32]byte) Pseudonyms {
	long := func(b []byte) string {
		mac := hmac.New(sha256.New, key[:])
		mac.Write(b)
		return hex.EncodeToString(mac.Sum(nil))
	}
	return Pseudonyms{sum: func(b []byte) string { return long(b)[:12] }, long: long}
}

// ID names an id.
func (p Pseudonyms) ID(id ID) string { return "id:" + p.sum(id[:]) }

// Cell names a cell that is no valid id.
func (p Pseudonyms) Cell(cell []byte) string { return "cell:" + p.sum(cell) }

// Set names a set of ids by a digest of it, in full length, so that different
// sets have different names; whoever knows an id cannot find out whether it is
// in the set.
func (p Pseudonyms) Set(digest []byte) string { return p.long(digest) }

// Format keeps the key out of every verb.
func (p Pseudonyms) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedSecret)) }

// Secret is an API key, a client secret or another string that must not be
// shown: however it is printed, logged or marshalled it shows "redacted".
type Secret struct {
	// A handle, because fmt cannot call Format on unexported fields of other
	// structs: of the pointer in a handle it shows the address only. Secrets
	// still compare by value.
	value unique.Handle[string]
}

const redactedSecret = "redacted"

// NewSecret hides value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: unique.Make(value)}
}

// Reveal returns the hidden string, for the wire only.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.value.Value()
}

// IsZero tells whether there is nothing to hide.
func (s Secret) IsZero() bool { return s == Secret{} }

// String hides the secret.
func (s Secret) String() string { return redactedSecret }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return redactedSecret }

// Format hides the secret from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedSecret)) }

// MarshalText hides the secret from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redactedSecret), nil }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redactedSecret) }
