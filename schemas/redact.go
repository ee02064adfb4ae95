package schemas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// Pseudonyms turn ids into short names that tell two ids apart without giving
// either away: "id:" and 12 hexadecimal digits of HMAC-SHA-256 under a key
// that stays in the workspace. Make them with NewPseudonyms.
type Pseudonyms struct {
	key *[32]byte // a pointer for the reason given at Secret
}

// NewPseudonyms makes pseudonyms under key.
func NewPseudonyms(key [32]byte) Pseudonyms { return Pseudonyms{key: &key} }

// ID names an id.
func (p Pseudonyms) ID(id ID) string { return "id:" + p.sum(id[:]) }

// Cell names a cell that is no valid id.
func (p Pseudonyms) Cell(cell []byte) string { return "cell:" + p.sum(cell) }

func (p Pseudonyms) sum(b []byte) string {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write(b)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// Format keeps the key out of every verb.
func (p Pseudonyms) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedSecret)) }

// Secret is an API key, a client secret or another string that must not be
// shown: however it is printed, logged or marshalled it shows "redacted".
type Secret struct {
	// A pointer, because fmt cannot call Format on unexported fields of other
	// structs: of a pointer in there it shows the address only.
	value *string
}

const redactedSecret = "redacted"

// NewSecret hides value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Reveal returns the hidden string, for the wire only.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is nothing to hide.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

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
