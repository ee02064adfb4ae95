package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"optsweep/schemas"
)

// minSinceMS is the earliest opted_out_since that can be meant in ms (March
// 1973): an answer in seconds would be below.
const minSinceMS = 1e11

// parse reads the decrypted answer to b and appends the ids it lists to dst.
// Only a whole answer counts (operator UIDOperatorVerticle.handleOptoutStatus):
//
//	{"body":{"opted_out":[{"advertising_id":"...","opted_out_since":1764547200000}]},"status":"success"}
//
// Members may come in any order; unknown ones are passed over, while doubled
// or missing ones, an id that is not in the batch, and a time before
// minSinceMS or after maxSinceMS are errors. dst may be longer than before
// even if there is an error. Errors hold nothing of the answer.
func (b *batch) parse(payload []byte, maxSinceMS int64, dst []schemas.OptOut) ([]schemas.OptOut, error) {
	b.rewind()
	s := scanner{data: payload}
	var body, status, list seen
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "status":
			value, err := s.text()
			if err == nil && string(value) != "success" {
				err = errors.New("its status is not success")
			}
			return status.once(err)
		case "body":
			return body.once(s.object(func(key []byte) error {
				if string(key) != "opted_out" {
					return s.skip()
				}
				return list.once(s.array(func() (err error) {
					dst, err = b.parseOptOut(&s, maxSinceMS, dst)
					return err
				}))
			}))
		}
		return s.skip()
	})
	switch {
	case err != nil:
		return dst, err
	case !s.atEnd():
		return dst, s.malformed()
	case !bool(status):
		return dst, errors.New("it has no status")
	case !bool(list):
		return dst, errors.New("it has no opted_out list")
	}
	return dst, nil
}

func (b *batch) parseOptOut(s *scanner, maxSinceMS int64, dst []schemas.OptOut) ([]schemas.OptOut, error) {
	var idSeen, sinceSeen seen
	var out schemas.OptOut
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "advertising_id":
			text, err := s.text()
			if err != nil {
				return err
			}
			i, ok := b.find(text)
			if !ok {
				return errors.New("it lists an id that was not asked")
			}
			out.ID = b.ids[i]
			return idSeen.once(nil)
		case "opted_out_since":
			var err error
			out.SinceMS, err = s.integer()
			if err == nil && (out.SinceMS < minSinceMS || out.SinceMS > maxSinceMS) {
				err = fmt.Errorf("its opted_out_since %d is no time in the past in Unix ms", out.SinceMS)
			}
			return sinceSeen.once(err)
		}
		return s.skip()
	})
	if err == nil && !(idSeen && sinceSeen) {
		err = errors.New("it lists an id without advertising_id or opted_out_since")
	}
	return append(dst, out), err
}

// seen notes that a member of an object occurred, once.
type seen bool

func (s *seen) once(err error) error {
	if err == nil && bool(*s) {
		return errors.New("a member occurs twice")
	}
	*s = true
	return err
}

// scanner reads JSON strictly and without allocating. Each method consumes one
// value, with the white space before it.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) malformed() error {
	return fmt.Errorf("it is not the JSON that was expected, at byte %d of %d", s.pos, len(s.data))
}

// peek returns the next character that is not white space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) atEnd() bool {
	s.peek()
	return s.pos == len(s.data)
}

// take consumes c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// object calls member for each key; member must consume the value.
func (s *scanner) object(member func(key []byte) error) error {
	return s.sequence('{', '}', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.malformed()
		}
		return member(key)
	})
}

// array calls item for each element; item must consume it.
func (s *scanner) array(item func() error) error { return s.sequence('[', ']', item) }

func (s *scanner) sequence(open, end byte, item func() error) error {
	if !s.take(open) {
		return s.malformed()
	}
	if s.take(end) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return s.malformed()
		}
	}
}

// text reads a string. What it returns shares memory with data unless there
// are escapes.
func (s *scanner) text() ([]byte, error) {
	if !s.take('"') {
		return nil, s.malformed()
	}
	start := s.pos
	n := bytes.IndexByte(s.data[start:], '"')
	if n < 0 {
		return nil, s.malformed()
	}
	value := s.data[start : start+n]
	plain := true
	for _, c := range value {
		if c < ' ' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		s.pos = start + n + 1
		return value, nil
	}
	s.pos = start - 1
	literal, err := s.literal()
	if err != nil {
		return nil, err
	}
	var unescaped string
	if err := json.Unmarshal(literal, &unescaped); err != nil {
		return nil, s.malformed()
	}
	return []byte(unescaped), nil
}

// integer reads a whole number from 0 up to an int64, as it stands: 1e3 and
// 1.0 are errors.
func (s *scanner) integer() (n int64, err error) {
	first := s.peek()
	start := s.pos
	for ; s.pos < len(s.data); s.pos++ {
		digit := int64(s.data[s.pos]) - '0'
		if digit < 0 || digit > 9 {
			break
		}
		if n > (math.MaxInt64-digit)/10 {
			return 0, s.malformed()
		}
		n = n*10 + digit
	}
	digits := s.pos - start
	if digits == 0 || digits > 1 && first == '0' {
		return 0, s.malformed()
	}
	return n, nil
}

// skip passes over a value of any kind.
func (s *scanner) skip() error {
	literal, err := s.literal()
	if err == nil && !json.Valid(literal) {
		err = s.malformed()
	}
	return err
}

// literal finds the end of a value by its brackets, quotes and separators,
// without looking at what is inside.
func (s *scanner) literal() ([]byte, error) {
	s.peek()
	start, depth, quoted := s.pos, 0, false
	for ; s.pos < len(s.data); s.pos++ {
		c := s.data[s.pos]
		if quoted {
			switch c {
			case '\\':
				s.pos++
			case '"':
				quoted = false
				if depth == 0 {
					s.pos++
					return s.data[start:s.pos], nil
				}
			}
			continue
		}
		switch c {
		case '"':
			quoted = true
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return s.data[start:s.pos], nil
			}
			if c != ',' {
				depth--
			}
			if depth == 0 && c != ',' {
				s.pos++
				return s.data[start:s.pos], nil
			}
		}
	}
	return nil, s.malformed()
}
