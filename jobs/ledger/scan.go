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

// parseLine takes a line apart. It is the only spelling of itself, since the
// hash is that of every byte of the event and the envelope is always the same.
func parseLine(raw []byte, before Head) (Line, error) {
	hash, event, ok := cutLine(raw)
	if !ok {
		return Line{}, errors.New("not a line of a ledger")
	}
	l := Line{Hash: hashOf(event), Raw: raw}
	if l.Hash != string(hash) {
		return Line{}, errors.New("the hash does not fit the event")
	}
	e, err := parseEvent(event)
	if err != nil {
		return Line{}, errors.New("not an event")
	}
	l.Event = e
	if e.Seq != before.Seq+1 || e.Prev != before.Hash {
		return Line{}, fmt.Errorf("event %d does not follow event %d", e.Seq, before.Seq)
	}
	return l, nil
}

// cutLine gives the hash and the event of a line.
func cutLine(raw []byte) (hash, event []byte, ok bool) {
	raw, begins := bytes.CutPrefix(raw, []byte(lineStart))
	raw, ends := bytes.CutSuffix(raw, []byte(lineEnd))
	hash, event, ok = bytes.Cut(raw, []byte(lineMiddle))
	return hash, event, begins && ends && ok
}

// parseEvent reads an event. Its data, if that is the last field as in what
// Append writes, is looked at once and not copied.
func parseEvent(event []byte) (e schemas.Event, err error) {
	head, data, ok := bytes.Cut(event, []byte(dataKey))
	data, ends := bytes.CutSuffix(data, []byte("}"))
	if ok && ends && json.Valid(data) && json.Unmarshal(append(bytes.Clone(head), '}'), &e) == nil {
		e.Data = data
		return e, nil
	}
	e = schemas.Event{}
	err = json.Unmarshal(event, &e)
	return e, err
}
