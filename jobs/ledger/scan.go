package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"optsweep/schemas"
)

// End is where a verified log ends.
type End struct {
	Head
	Size int64 // bytes up to and including the last whole line
	Torn bool  // a line that a crash cut short follows

	Cut     *Cut // why the log begins later than with event 1; nil: it is whole
	Pending *Cut // one that a crash kept from happening
}

// Line is one verified line of a log.
type Line struct {
	Event schemas.Event
	Hash  string // of the event
	Raw   []byte // the line as it stands in the file, with its line break
}

// maxLine bounds the memory that one line of a damaged log can take.
const maxLine = 1 << 30

// Read verifies the log at path without changing it and passes every event to
// each, which may be nil.
func Read(path string, each func(schemas.Event) error) (End, error) {
	return readFrom(path, Head{}, each)
}

// ReadLines is Read for lines. Nothing is passed on of a log that begins where
// it may not.
func ReadLines(path string, each func(Line) error) (End, error) {
	f, err := os.Open(path)
	if err != nil {
		return End{}, err
	}
	defer f.Close()
	begin, err := findBeginning(path, f)
	if err != nil {
		return End{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return End{}, err
	}
	end, err := Scan(path, f, begin.from, func(l Line) error {
		if err := begin.fits(path, l); err != nil {
			return err
		}
		return each(l)
	})
	if err != nil {
		return End{}, err
	}
	end.Cut, end.Pending = begin.happened(), begin.pending()
	return end, nil
}

func readFrom(path string, known Head, each func(schemas.Event) error) (End, error) {
	end, err := ReadLines(path, func(l Line) error {
		if l.Event.Seq == known.Seq && l.Hash != known.Hash {
			return rewritten(path, known)
		}
		if each == nil {
			return nil
		}
		return each(l.Event)
	})
	switch begin := end.Begin(); {
	case err != nil:
		return End{}, err
	case end.Seq < known.Seq:
		return End{}, cutOff(path, end.Head, known)
	case known.Seq > 0 && known.Seq <= begin.Seq && known != begin:
		return End{}, tooOld(path, begin, known)
	}
	return end, nil
}

// Scan verifies the lines of r, of which the first must follow from, and
// passes them to each. The zero Head is the start of a log. name is for
// errors; those about the content have class Integrity and name the line,
// counted from 1; that about an event of a kind that this version does not know
// has class Usage.
func Scan(name string, r io.Reader, from Head, each func(Line) error) (End, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	end := End{Head: from}
	for n := 1; ; n++ {
		raw, err := readLine(in)
		if errors.Is(err, io.EOF) {
			end.Torn = len(raw) > 0
			return end, nil
		}
		if err != nil {
			return End{}, fmt.Errorf("%s: %w", name, err)
		}
		l, err := parseLine(raw, end.Head)
		if err != nil {
			return End{}, schemas.Errorf(schemas.Integrity, "%s: line %d: %v", name, n, err).
				WithHint("it was changed or damaged after it was written; restore it from a copy, nothing was written to it")
		}
		if !schemas.KnownEvent(l.Event.Type) {
			return End{}, schemas.Errorf(schemas.Usage, "%s: line %d is of a kind that this version of optsweep does not know: %q", name, n, l.Event.Type).
				WithHint("a newer version has written it: use that one, or a newer; nothing was changed")
		}
		if err := each(l); err != nil {
			return End{}, err
		}
		end.Head = Head{Seq: l.Event.Seq, Hash: l.Hash}
		end.Size += int64(len(raw))
	}
}

// readLine returns a line with its line break. With io.EOF it returns what
// stands behind the last line break.
func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		whole = append(whole, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return whole, err
		}
		if len(whole) > maxLine {
			return nil, errors.New("a line is too long")
		}
	}
}

func parseLine(raw []byte, before Head) (Line, error) {
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return Line{}, errors.New("not a line of a ledger")
	}
	// The line must be the only spelling of itself, or two logs with different
	// bytes could carry the same hashes.
	again, err := json.Marshal(l)
	if err != nil || !bytes.Equal(append(again, '\n'), raw) {
		return Line{}, errors.New("not a line of a ledger")
	}
	if hashOf(l.Event) != l.Hash {
		return Line{}, errors.New("the hash does not fit the event")
	}
	var e schemas.Event
	if err := json.Unmarshal(l.Event, &e); err != nil {
		return Line{}, errors.New("not an event")
	}
	if e.Seq != before.Seq+1 || e.Prev != before.Hash {
		return Line{}, fmt.Errorf("event %d does not follow event %d", e.Seq, before.Seq)
	}
	return Line{Event: e, Hash: l.Hash, Raw: raw}, nil
}
