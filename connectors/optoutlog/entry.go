package optoutlog

import (
	"encoding/binary"
	"errors"

	"optsweep/schemas"
)

// EntrySize is the length of one entry in bytes (shared
// optout/OptOutConst.java): identity hash 32, advertising id body 32, Unix
// time in seconds 7 (little endian), metadata 1.
const EntrySize = 72

const (
	bodyAt     = 32
	timeAt     = 64
	metadataAt = 71
)

// maxSecond is the last Unix second that a snapshot can hold (year 36812).
const maxSecond = 1<<40 - 1

// Kind tells an opt-out from the entries that open and close a file.
type Kind uint8

// The kinds. Which one an entry is shows in its id body: all zeros for Start,
// all ones for End.
const (
	OptOut Kind = iota
	Start       // its time is the start of the file's window
	End         // its time is the end of the file's window
)

// Entry is one opt-out of a log.
type Entry struct {
	Hash   [32]byte // first-level hash of the identity
	ID     schemas.ID
	Second int64 // Unix time in seconds
}

// Decode reads one entry. Second is set for every kind, Hash and ID only for
// an OptOut. The error says that the time of an OptOut is one that no opt-out
// can have, which means that the bytes are damaged.
func Decode(b *[EntrySize]byte) (e Entry, kind Kind, err error) {
	e.Second = second(b[:])
	if kind = kindOf(b[:]); kind != OptOut {
		return e, kind, nil
	}
	if e.Second < 1 || e.Second > maxSecond {
		return Entry{}, OptOut, errTime
	}
	copy(e.Hash[:], b[:bodyAt])
	e.ID = idOf(b[:])
	return e, OptOut, nil
}

// Append appends the 72 bytes of e. The two highest bits of the first byte of
// a v4 id are lost, as they are in the logs of the service (shared
// optout/OptOutEntry.java calcMetadata); Decode recovers them.
func Append(dst []byte, e Entry) []byte {
	dst = append(dst, e.Hash[:]...)
	dst = append(dst, e.ID[1:]...)
	metadata := uint64(0)
	if e.ID.Version() != schemas.V2 {
		metadata = uint64(longID | e.ID[0])
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(e.Second)&timeMask|metadata<<56)
}

// check tells whether e reads back from a log as what it is.
func (e *Entry) check() error {
	if e.Second < 1 || e.Second > maxSecond {
		return errTime
	}
	if e.ID.Version() == schemas.V4 && checksum(e.ID[:]) != 0 {
		return errors.New("checksum of a v4 id is wrong")
	}
	return nil
}

// appendSentinel appends the entry that opens (fill 0x00) or closes (fill
// 0xFF) a file.
func appendSentinel(dst []byte, fill byte, second int64) []byte {
	for range timeAt {
		dst = append(dst, fill)
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(second)&timeMask)
}

var errTime = errors.New("time of an opt-out is impossible: before 1970-01-01T00:00:01Z or after the year 36811")

const (
	timeMask = 1<<56 - 1
	longID   = 0x40 // set in the metadata of an id of 33 bytes
	prefix   = 0x3F // what the metadata keeps of the first of 33 bytes
	isV4     = 0x20
)

func second(b []byte) int64 {
	return int64(binary.LittleEndian.Uint64(b[timeAt:EntrySize]) & timeMask)
}

func kindOf(b []byte) Kind {
	first := b[bodyAt]
	if first != 0 && first != 0xFF {
		return OptOut
	}
	for _, c := range b[bodyAt:timeAt] {
		if c != first {
			return OptOut
		}
	}
	if first == 0 {
		return Start
	}
	return End
}

// idOf puts an id together. Metadata with its two highest bits clear means 32
// bytes, anything else 33 bytes that start with its six lowest bits.
func idOf(b []byte) (id schemas.ID) {
	copy(id[1:], b[bodyAt:timeAt])
	metadata := b[metadataAt]
	switch {
	case metadata>>6 == 0:
		id[0] = v2
	case metadata&isV4 != 0:
		id[0] = recoverV4(metadata&prefix, id[1:])
	default:
		id[0] = metadata & prefix
	}
	return id
}

// RestoreV4 repairs the first byte of a v4 id that passed through an opt-out
// log or the DSP webhook. Ids of other versions come back unchanged.
func RestoreV4(id schemas.ID) schemas.ID {
	if id.Version() == schemas.V4 {
		id[0] = recoverV4(id[0]&prefix, id[1:])
	}
	return id
}

// recoverV4 finds the environment bits that make all 33 bytes XOR to 0. If
// none does, the bits stay as they were read.
func recoverV4(first byte, body []byte) byte {
	switch sum := first ^ checksum(body); sum {
	case 0x40, 0x80:
		return first | sum
	}
	return first
}

func checksum(b []byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

// v2 is byte 0 of an id of 32 bytes.
var v2 = func() byte {
	id, _ := schemas.FromRaw(make([]byte, 32))
	return id[0]
}()
