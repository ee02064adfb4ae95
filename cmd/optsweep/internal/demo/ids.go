package demo

import (
	"encoding/base64"
	"encoding/hex"
	"time"

	"optsweep/schemas"
)

// population gives every row its id. Ids are numbered like the rows: a row
// shows either the id of its own number or, as a duplicate, that of another
// row that shows its own. So the ids in the data are known row by row, without
// looking at the others.
type population struct {
	seed        uint64
	rows        uint64
	euid        bool
	environment byte // bits 7-6 of a v4 id
	now         time.Time
}

func newPopulation(o Options) population {
	p := population{seed: o.Seed, rows: uint64(o.Rows), euid: o.Scope == schemas.EUID, environment: 1 << 6, now: o.Now}
	if o.Environment == schemas.Production {
		p.environment = 2 << 6
	}
	return p
}

// Shares of the rows, in ten thousandths.
const (
	nullShare      = 200
	malformedShare = 30
	duplicateShare = 2931 // 30 % of the valid rows
	whiteShare     = 5    // of the valid rows: white space around the id
	optOutShare    = 300  // of the ids
)

// content is what a row holds in its id column.
type content uint8

const (
	null content = iota
	malformed
	duplicate
	own
)

func (p population) content(row uint64) (content, random) {
	r := seeded(p.seed, rowStream, row)
	switch n := r.below(10_000); {
	case n < nullShare:
		return null, r
	case n < nullShare+malformedShare:
		return malformed, r
	case n < nullShare+malformedShare+duplicateShare:
		return duplicate, r
	default:
		return own, r
	}
}

// original picks a row that shows its own id. With very few rows there may be
// none; then the row shows its own.
func (p population) original(row uint64, r *random) uint64 {
	for range 100 {
		other := r.next() % p.rows
		if c, _ := p.content(other); c == own {
			return other
		}
	}
	return row
}

// id makes the id of a number. Of ten ids with a scope, seven are v3 and three
// v2; a few are v4, which operators can mint but do not yet.
func (p population) id(number uint64) schemas.ID {
	r := seeded(p.seed, idStream, number)
	var raw [33]byte
	for i := 1; i < len(raw); i += 8 {
		for j, word := 0, r.next(); j < 8; j++ {
			raw[i+j] = byte(word >> (8 * j))
		}
	}
	if p.euid {
		raw[0] = 0x10
	}
	if r.below(100) < 15 {
		raw[0] |= 0x04 // of a phone number
	}
	id := raw[:]
	switch n := r.below(100); {
	case n < 30:
		id = raw[1:]
	case n < 32:
		raw[0] |= 0x20 | p.environment
		raw[32] = 0
		for _, b := range raw[:32] {
			raw[32] ^= b
		}
	}
	valid, err := schemas.FromRaw(id)
	if err != nil {
		return schemas.ID{} // not possible: the prefixes above are those of the versions
	}
	return valid
}

// optOut tells whether and when the id of a number was opted out: a whole
// second, from an hour to a year and a half ago.
func (p population) optOut(number uint64) (sinceMS int64, ok bool) {
	r := seeded(p.seed, optOutStream, number)
	if r.below(10_000) >= optOutShare {
		return 0, false
	}
	const hour, span = 3600, 540 * 24 * 3600
	return (p.now.Unix() - hour - int64(r.below(span))) * 1000, true
}

// strangers are n opted-out ids that no row shows.
func (p population) strangers(n int64) []schemas.OptOut {
	var list []schemas.OptOut
	for number := p.rows; int64(len(list)) < n; number++ {
		if since, ok := p.optOut(number); ok {
			list = append(list, schemas.OptOut{ID: p.id(number), SinceMS: since})
		}
	}
	return list
}

// spoil makes text that is no usable id out of a number, and says why it is
// none.
func (p population) spoil(r *random, number uint64) (string, schemas.Reason) {
	id := p.id(number)
	body := id[1:]
	switch r.below(6) {
	case 0: // what base64 for URLs makes of an id; 24 ones give a "_" wherever they start
		body[0], body[1], body[2] = 0xFF, 0xFF, 0xFF
		return base64.URLEncoding.EncodeToString(id.Raw()), schemas.URLSafeBase64
	case 1:
		return hex.EncodeToString(body), schemas.HexHash
	case 2:
		return base64.StdEncoding.EncodeToString(body[:30]), schemas.BadLength
	case 3:
		return base64.RawStdEncoding.EncodeToString(body), schemas.MissingPadding
	case 4:
		token := make([]byte, 0, 4*schemas.IDSize)
		for i := range uint64(4) {
			piece := p.id(number + i)
			token = append(token, piece[:]...)
		}
		return base64.RawURLEncoding.EncodeToString(token), schemas.LooksLikeToken
	default: // a v3 id of the other scope
		id[0] = 0x10
		if p.euid {
			id[0] = 0
		}
		return string(id.AppendText(nil)), schemas.WrongScope
	}
}
