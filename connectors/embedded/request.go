package embedded

import (
	"encoding/json"
	"unicode/utf8"

	"optsweep/schemas"
)

// request is what the payload of a status request says.
type request struct {
	ids   []schemas.ID // canonical ids among the elements, in order
	count int          // all elements
	list  listState
}

// listState is what "advertising_ids" is.
type listState uint8

const (
	missing   listState = iota // not there, or null
	malformed                  // there, but no array
	present
)

// maxDepth is how deep JSON may be nested, as in the JSON reader of the
// operator (Jackson StreamReadConstraints).
const maxDepth = 1000

// parseRequest reads a payload, appending its ids to ids. It is a whole JSON
// parser because the operator parses the whole payload: ok is false unless it
// is one JSON object. Unknown fields are skipped and the last of several
// "advertising_ids" counts. An element that is not the canonical text of an id
// cannot be in a log; it only counts as one of the elements.
func parseRequest(payload []byte, ids []schemas.ID) (r request, ok bool) {
	s := scanner{b: payload}
	r.ids = ids
	s.space()
	if !s.next('{') || !utf8.Valid(payload) {
		return request{ids: ids}, false
	}
	ok = s.members(func(key []byte) bool {
		if string(key) != "advertising_ids" {
			return s.value(1)
		}
		r.ids, r.count, r.list = r.ids[:len(ids)], 0, malformed
		switch {
		case s.next('['):
			r.list = present
			return s.elements(func() bool {
				r.count++
				return s.element(&r)
			})
		case s.peek() == 'n':
			r.list = missing
		}
		return s.value(1)
	})
	s.space()
	if !ok || s.i != len(payload) {
		return request{ids: ids}, false
	}
	return r, true
}

// isObject tells whether b is one JSON object.
func isObject(b []byte) bool {
	_, ok := parseRequest(b, nil)
	return ok
}

// scanner reads JSON (RFC 8259). Its methods give false on a syntax error.
type scanner struct {
	b []byte
	i int
}

// element reads one element of "advertising_ids".
func (s *scanner) element(r *request) bool {
	if text, ok := s.plainID(); ok {
		if id, ok := schemas.ParseText(text); ok {
			r.ids = append(r.ids, id)
			s.i += len(text) + 2
			return true
		}
	}
	if s.peek() != '"' {
		return s.value(2)
	}
	text, ok := s.text()
	if id, isID := schemas.ParseText(text); ok && isID {
		r.ids = append(r.ids, id)
	}
	return ok
}

// plainID gives what follows if that is a string as long as an id.
func (s *scanner) plainID() ([]byte, bool) {
	end := s.i + 1 + schemas.TextSize
	if end >= len(s.b) || s.b[s.i] != '"' || s.b[end] != '"' {
		return nil, false
	}
	return s.b[s.i+1 : end], true
}

func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// next steps over c if it is what follows.
func (s *scanner) next(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// members reads the rest of an object after its brace; value reads the value
// of a key.
func (s *scanner) members(value func(key []byte) bool) bool {
	s.space()
	if s.next('}') {
		return true
	}
	for {
		s.space()
		key, ok := s.text()
		s.space()
		if !ok || !s.next(':') {
			return false
		}
		s.space()
		if !value(key) {
			return false
		}
		s.space()
		if s.next('}') {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
}

// elements reads the rest of an array after its bracket.
func (s *scanner) elements(element func() bool) bool {
	s.space()
	if s.next(']') {
		return true
	}
	for {
		s.space()
		if !element() {
			return false
		}
		s.space()
		if s.next(']') {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
}

// value skips a value inside depth arrays and objects.
func (s *scanner) value(depth int) bool {
	switch c := s.peek(); {
	case c == '"':
		_, ok := s.string()
		return ok
	case c == '{' && depth < maxDepth:
		s.i++
		return s.members(func([]byte) bool { return s.value(depth + 1) })
	case c == '[' && depth < maxDepth:
		s.i++
		return s.elements(func() bool { return s.value(depth + 1) })
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return false
	}
	s.i += len(word)
	return true
}

func (s *scanner) number() bool {
	s.next('-')
	if !s.next('0') && !s.digits() {
		return false
	}
	if s.next('.') && !s.digits() {
		return false
	}
	if s.next('e') || s.next('E') {
		if !s.next('+') {
			s.next('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.i
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i > start
}

// string steps over a string and gives it with its quotes. What its escapes
// stand for is not looked at.
func (s *scanner) string() (quoted []byte, ok bool) {
	start := s.i
	if !s.next('"') {
		return nil, false
	}
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start:s.i], true
		case c < ' ':
			return nil, false
		case c == '\\':
			if !s.escape() {
				return nil, false
			}
		default:
			s.i++
		}
	}
	return nil, false
}

func (s *scanner) escape() bool {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return true
	case 'u':
		s.i++
		for range 4 {
			c := s.peek()
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
			s.i++
		}
		return true
	}
	return false
}

// text reads a string and resolves its escapes.
func (s *scanner) text() ([]byte, bool) {
	quoted, ok := s.string()
	if !ok {
		return nil, false
	}
	for _, c := range quoted {
		if c == '\\' {
			var text string
			if json.Unmarshal(quoted, &text) != nil {
				return nil, false
			}
			return []byte(text), true
		}
	}
	return quoted[1 : len(quoted)-1], true
}
