package schemas

import (
	"bytes"
	"encoding/binary"
	"unicode"
)

// Reason says why a cell of an id column has no verdict.
type Reason string

// Reasons that Rules.Parse gives. Every cell that is not NULL is Valid or has
// exactly one of the others.
const (
	Valid            Reason = ""
	Empty            Reason = "empty"             // no characters, or only white space
	Whitespace       Reason = "whitespace"        // white space inside, or around and not ASCII
	RawBytes         Reason = "raw_bytes"         // 32 or 33 bytes that are no text: an id that is not in base64
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
// there is none; repaired is true when ASCII white space around an otherwise
// valid id was ignored.
//
// It is stricter than the operator on purpose: the operator looks ids up as
// exact text, so any other spelling of an opted-out id would read as "not
// opted out" (operator UIDOperatorVerticle.handleOptoutStatus).
func (r Rules) Parse(cell []byte) (id ID, repaired bool, reason Reason) {
	text := cell
	if !decode(text, &id) {
		text = bytes.Trim(cell, " \t\r\n\v\f")
		if !decode(text, &id) {
			if isRaw(cell) {
				return ID{}, false, RawBytes
			}
			return ID{}, false, explain(text)
		}
	}
	if id[0] == v2Tag && text[TextSize-1] != '=' {
		return ID{}, false, UnknownPrefix // 33 bytes, the first of which is no prefix
	}
	if reason = r.check(&id); reason != Valid {
		return ID{}, false, reason
	}
	return id, len(text) != len(cell), Valid
}

// FromBytes makes the id of its 32 or 33 bytes and tells whether it is valid: as
// Parse does of their text.
func (r Rules) FromBytes(id *ID, raw []byte) bool {
	if len(raw) == IDSize-1 {
		id[0] = v2Tag
		copy(id[1:], raw)
	} else if copy(id[:], raw) < IDSize || id[0] == v2Tag {
		return false // cut off, or a first byte that is no prefix
	}
	return r.check(id) == Valid
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

func xor(id *ID) byte {
	x := binary.NativeEndian.Uint64(id[0:]) ^ binary.NativeEndian.Uint64(id[8:]) ^
		binary.NativeEndian.Uint64(id[16:]) ^ binary.NativeEndian.Uint64(id[24:])
	x ^= x >> 32
	x ^= x >> 16
	return byte(x) ^ byte(x>>8) ^ id[32]
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

// sextets maps a character of standard base64 to its 6 bits and every other
// one to a value with bit 7 set.
const sextets = "" +
	none + none + // 0x00 to 0x1F
	"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x3E\x80\x80\x80\x3F" + // + /
	"\x34\x35\x36\x37\x38\x39\x3A\x3B\x3C\x3D\x80\x80\x80\x80\x80\x80" + // 0 to 9
	"\x80\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E" + // A to O
	"\x0F\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x80\x80\x80\x80\x80" + // P to Z
	"\x80\x1A\x1B\x1C\x1D\x1E\x1F\x20\x21\x22\x23\x24\x25\x26\x27\x28" + // a to o
	"\x29\x2A\x2B\x2C\x2D\x2E\x2F\x30\x31\x32\x33\x80\x80\x80\x80\x80" + // p to z
	none + none + none + none + none + none + none + none // 0x80 to 0xFF

const none = "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"

// decode reads exactly TextSize characters of canonical standard base64.
// encoding/base64 is slower, and skips line breaks.
func decode(text []byte, id *ID) bool {
	if len(text) != TextSize {
		return false
	}
	first, last := 0, text[43] // first: where the bytes start in id
	if last == '=' {
		first, last = 1, 'A'
		id[0] = v2Tag
	}
	var bad byte
	for i := range 5 {
		c, to := text[8*i:8*i+8], id[first+6*i:first+6*i+8]
		s0, s1, s2, s3 := sextets[c[0]], sextets[c[1]], sextets[c[2]], sextets[c[3]]
		s4, s5, s6, s7 := sextets[c[4]], sextets[c[5]], sextets[c[6]], sextets[c[7]]
		bad |= s0 | s1 | s2 | s3 | s4 | s5 | s6 | s7
		// The last two of the eight bytes are overwritten by the next six.
		binary.BigEndian.PutUint64(to, uint64(s0)<<58|uint64(s1)<<52|uint64(s2)<<46|uint64(s3)<<40|
			uint64(s4)<<34|uint64(s5)<<28|uint64(s6)<<22|uint64(s7)<<16)
	}
	s0, s1, s2, s3 := sextets[text[40]], sextets[text[41]], sextets[text[42]], sextets[last]
	bad |= s0 | s1 | s2 | s3
	id[first+30] = s0<<2 | s1>>4
	id[first+31] = s1<<4 | s2>>2
	if first == 0 {
		id[32] = s2<<6 | s3
	} else if s2&3 != 0 {
		return false // canonical text leaves these bits 0
	}
	return bad&0x80 == 0
}

// tokenSize is the shortest text that is taken for an advertising token rather
// than a broken id: tokens have 180 characters and more.
const tokenSize = 100

// explain names what a cell is that decode refused, white space around it
// gone. The first rule that fits decides. It runs off the fast path.
func explain(cell []byte) Reason {
	n := len(cell)
	switch {
	case n == 0:
		return Empty
	case bytes.IndexByte(cell, '@') >= 0:
		return LooksLikeEmail
	case isPhone(cell):
		return LooksLikePhone
	case bytes.ContainsFunc(cell, unicode.IsSpace):
		return Whitespace
	case isHash(cell):
		return HexHash
	}
	digits := bytes.TrimRight(cell, "=")
	var std, urlSafe int
	for _, c := range digits {
		switch {
		case c == '-' || c == '_':
			urlSafe++
		case sextets[c]&0x80 == 0:
			std++
		}
	}
	// How many characters base64 of any bytes can have.
	padded, unpadded := n%4 == 0 && n-len(digits) <= 2, n == len(digits) && n%4 != 1
	switch {
	case std+urlSafe != len(digits) || !padded && !unpadded:
		return NotBase64
	case n >= tokenSize:
		return LooksLikeToken
	case urlSafe > 0 && (n == TextSize || n == TextSize-1):
		return URLSafeBase64
	case urlSafe > 0:
		return NotBase64
	case n == TextSize-1:
		return MissingPadding
	case n == TextSize && len(digits) == TextSize-1:
		return NonCanonical // nothing else is left that decode refuses
	default:
		return BadLength
	}
}

// isRaw tells whether cell has the length of a raw id and is no text: one in
// 10^12 of raw ids is.
func isRaw(cell []byte) bool {
	return (len(cell) == IDSize-1 || len(cell) == IDSize) &&
		bytes.ContainsFunc(cell, func(c rune) bool { return c < ' ' && !unicode.IsSpace(c) || c == unicode.ReplacementChar })
}

// isPhone tells whether cell is an international phone number: "+", then 7 to
// 15 digits (ITU-T E.164) with the usual marks between them.
func isPhone(cell []byte) bool {
	digits := 0
	for _, c := range cell {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return cell[0] == '+' && digits >= 7 && digits <= 15 && len(bytes.Trim(cell, "+0123456789 -.()/")) == 0
}

// isHash tells whether cell is a hash in hexadecimal: MD5, SHA-1 or SHA-2.
func isHash(cell []byte) bool {
	switch len(cell) {
	case 32, 40, 56, 64, 96, 128:
		return len(bytes.Trim(cell, "0123456789abcdefABCDEF")) == 0
	}
	return false
}
