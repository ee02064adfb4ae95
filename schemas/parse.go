package schemas

import (
	"bytes"
	"encoding/base64"
)

// Reason says why a cell of an id column has no verdict.
type Reason string

// Reasons that Rules.Parse gives. Every cell that is not NULL is Valid or has
// exactly one of the others.
const (
	Valid            Reason = ""
	Empty            Reason = "empty"             // no characters, or only white space
	Whitespace       Reason = "whitespace"        // white space inside
	LooksLikeEmail   Reason = "looks_like_email"  // directly identifying: the wrong column
	LooksLikePhone   Reason = "looks_like_phone"  // directly identifying: the wrong column
	LooksLikeToken   Reason = "looks_like_token"  // an advertising token, not a raw id
	HexHash          Reason = "hex_hash"          // a hash in hexadecimal
	URLSafeBase64    Reason = "urlsafe_base64"    // '-' or '_': the operator would not know it
	MissingPadding   Reason = "missing_padding"   // 43 characters: the '=' was cut off
	BadLength        Reason = "bad_length"        // base64, but not of 32 or 33 bytes
	NotBase64        Reason = "not_base64"        // anything else
	NonCanonical     Reason = "non_canonical"     // spare bits set in the last character
	UnknownPrefix    Reason = "unknown_prefix"    // 33 bytes whose first byte no version uses
	BadChecksum      Reason = "bad_checksum"      // v4 whose bytes do not XOR to 0
	ReservedID       Reason = "reserved_id"       // all zeros or all ones: sentinels of the log
	WrongScope       Reason = "wrong_scope"       // a UID2 in an EUID job, or the reverse
	WrongEnvironment Reason = "wrong_environment" // a v4 id of another environment
)

// Reasons why a well-formed id has no verdict.
const (
	NotAsked         Reason = "not_asked"
	OperatorRejected Reason = "operator_rejected"
	TooOld           Reason = "too_old"
)

// Bits of the first byte of a 33-byte id (operator model/Identity*.java):
// 7-6 environment (v4 only), 5 version, 4 scope, 3-2 type, 1-0 zero.
const (
	prefixV4   = 0x20
	prefixEUID = 0x10
)

// checkPrefix tells whether any version uses b as the first of 33 bytes.
func checkPrefix(b byte) Reason {
	if b&0x0B != 0 { // bits 1-0 set, or a type above phone
		return UnknownPrefix
	}
	env := b >> 6
	if b&prefixV4 == 0 && env != 0 || env == 3 {
		return UnknownPrefix
	}
	return Valid
}

// Rules say which ids a job may ask about.
type Rules struct {
	Scope       Scope
	Environment Environment
}

// Parse validates one cell. It returns the id and Valid, or the reason why
// there is none; repaired is true when white space around an otherwise valid
// id was ignored.
//
// It is stricter than the operator on purpose: the operator looks ids up as
// exact text, so any other spelling of an opted-out id would read as "not
// opted out" (operator UIDOperatorVerticle.handleOptoutStatus).
func (r Rules) Parse(cell []byte) (id ID, repaired bool, reason Reason) {
	if len(cell) != TextSize || !decode(cell, &id) {
		trimmed := bytes.Trim(cell, " \t\r\n\v\f")
		repaired = len(trimmed) != len(cell)
		if !repaired || len(trimmed) != TextSize || !decode(trimmed, &id) {
			return ID{}, false, explain(trimmed)
		}
	}
	if reason = r.check(&id); reason != Valid {
		return ID{}, false, reason
	}
	return id, repaired, Valid
}

func (r Rules) check(id *ID) Reason {
	if (id[1] == 0 || id[1] == 0xFF) && reserved(id) {
		return ReservedID
	}
	if id[0] == v2Tag {
		return Valid
	}
	if reason := checkPrefix(id[0]); reason != Valid {
		return reason
	}
	if id[0]&prefixV4 != 0 && xor(id) != 0 {
		return BadChecksum
	}
	if (id[0]&prefixEUID != 0) != (r.Scope == EUID) {
		return WrongScope
	}
	if id[0]&prefixV4 != 0 && id[0]>>6 != environmentBits(r.Environment) {
		return WrongEnvironment
	}
	return Valid
}

func environmentBits(e Environment) byte {
	if e == Production {
		return 2
	}
	return 1
}

func xor(id *ID) (x byte) {
	for _, b := range id {
		x ^= b
	}
	return x
}

// reserved tells whether the 32 bytes of the body are all 0x00 or all 0xFF:
// the ids that open and close every opt-out log file, which an operator can
// report as opted out (shared optout/OptOutEntry.java).
func reserved(id *ID) bool {
	for _, b := range id[2:] {
		if b != id[1] {
			return false
		}
	}
	return true
}

// sextets maps a character of standard base64 to its 6 bits, all others to
// 0x80. encoding/base64 is not used for this: it skips line breaks.
var sextets = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0x80
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		t[alphabet[i]] = uint8(i)
	}
	return t
}()

// decode reads exactly TextSize characters of canonical standard base64.
func decode(src []byte, id *ID) bool {
	_ = src[TextSize-1]
	if src[43] != '=' {
		return decodeGroups(src, id[:], 11)
	}
	id[0] = v2Tag
	if !decodeGroups(src, id[1:], 10) {
		return false
	}
	a, b, c := sextets[src[40]], sextets[src[41]], sextets[src[42]]
	if (a|b|c)&0x80 != 0 || c&3 != 0 {
		return false
	}
	id[31] = a<<2 | b>>4
	id[32] = b<<4 | c>>2
	return true
}

func decodeGroups(src, dst []byte, groups int) bool {
	var bad uint8
	for g := 0; g < groups; g++ {
		s, d := src[g*4:g*4+4:g*4+4], dst[g*3:g*3+3:g*3+3]
		a, b, c, e := sextets[s[0]], sextets[s[1]], sextets[s[2]], sextets[s[3]]
		bad |= a | b | c | e
		d[0] = a<<2 | b>>4
		d[1] = b<<4 | c>>2
		d[2] = c<<6 | e
	}
	return bad&0x80 == 0
}

// tokenSize is the shortest text that is taken for an advertising token rather
// than a broken id: tokens have 180 characters and more.
const tokenSize = 100

// explain names what a cell is that is no id. It runs off the fast path.
func explain(cell []byte) Reason {
	var letters, digits, hex, urlsafe, std, space, at int
	for _, c := range cell {
		switch {
		case c >= '0' && c <= '9':
			digits++
			hex++
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			letters++
			hex++
		case c >= 'g' && c <= 'z' || c >= 'G' && c <= 'Z':
			letters++
		case c == '-' || c == '_':
			urlsafe++
		case c == '+' || c == '/' || c == '=':
			std++
		case c == '@':
			at++
		case c == ' ' || c >= '\t' && c <= '\r':
			space++
		}
	}
	n := len(cell)
	base64ish := letters+digits+urlsafe+std == n
	switch {
	case n == 0:
		return Empty
	case at > 0:
		return LooksLikeEmail
	case cell[0] == '+' && digits == n-1 && n >= 8 && n <= 16:
		return LooksLikePhone
	case space > 0:
		return Whitespace
	case hex == n && (n == 32 || n == 40 || n == 64 || n == 128):
		return HexHash
	case base64ish && n >= tokenSize:
		return LooksLikeToken
	case base64ish && urlsafe > 0 && (n == TextSize || n == TextSize-1):
		return URLSafeBase64
	case base64ish && urlsafe == 0 && std == bytes.Count(cell, []byte{'+'})+bytes.Count(cell, []byte{'/'}) && n == TextSize-1:
		return MissingPadding
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(string(cell)); err == nil {
		return BadLength
	}
	if _, err := base64.StdEncoding.DecodeString(string(cell)); err == nil && n == TextSize {
		return NonCanonical
	}
	if _, err := base64.RawStdEncoding.DecodeString(string(cell)); err == nil {
		return BadLength
	}
	return NotBase64
}
