package ledger

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"optsweep/schemas"
)

// Cut is an event of a log that lets it begin behind the event that it names.
type Cut struct {
	schemas.LedgerCut
	Seq int64 // of the event
	At  time.Time
}

// Begin is the event before the first line; zero if the log is whole.
func (e End) Begin() Head {
	if e.Cut == nil {
		return Head{}
	}
	return e.Cut.Last
}

// beginning is where a log begins, and all that it says of its beginning.
type beginning struct {
	from Head
	cuts []Cut
}

// cutMark stands in every line of a cut.
const cutMark = `"type":"` + string(schemas.EventLedgerCut) + `"`

// findBeginning looks for a log's cuts before anything else is made of it. It
// leaves it to Scan to verify the lines.
func findBeginning(name string, r io.Reader) (b beginning, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		raw, err := readLine(in)
		if errors.Is(err, io.EOF) {
			return b, b.check(name)
		}
		if err != nil {
			return b, fmt.Errorf("%s: %w", name, err)
		}
		if n > 1 && !bytes.Contains(raw, []byte(cutMark)) {
			continue
		}
		_, body, ok := cutLine(raw)
		if !ok {
			continue
		}
		e, err := parseEvent(body)
		if err != nil {
			continue
		}
		if n == 1 && e.Seq > 1 {
			b.from = Head{Seq: e.Seq - 1, Hash: e.Prev}
		}
		if e.Type != schemas.EventLedgerCut || e.Run != "" {
			continue
		}
		c := Cut{Seq: e.Seq, At: e.Time}
		if json.Unmarshal(e.Data, &c.LedgerCut) != nil || c.Last.Seq < 1 || c.Last.Seq >= e.Seq || !isHash(c.Last.Hash) {
			return b, schemas.Errorf(schemas.Integrity, "%s: line %d: a cut that names no event before it", name, n).
				WithHint("restore it from a copy of the workspace; nothing was written to it")
		}
		b.cuts = append(b.cuts, c)
	}
}

func isHash(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32
}

func (b beginning) check(name string) error {
	if b.from.Seq == 0 || b.happened() != nil {
		return nil
	}
	return schemas.Errorf(schemas.Integrity, "%s: its beginning was cut off: it begins with event %d, and no event in it says that retention removed those before", name, b.from.Seq+1).
		WithHint("restore it from a copy of the workspace; nothing was written to it")
}

// happened is the cut by which the log begins where it does.
func (b beginning) happened() *Cut {
	for i := range b.cuts {
		if b.from.Seq > 0 && b.cuts[i].Last == b.from {
			return &b.cuts[i]
		}
	}
	return nil
}

// pending is the last cut that has not happened.
func (b beginning) pending() *Cut {
	for i := len(b.cuts) - 1; i >= 0; i-- {
		if b.cuts[i].Last.Seq > b.from.Seq {
			return &b.cuts[i]
		}
	}
	return nil
}

// fits checks that a line which a cut names is the one that it names.
func (b beginning) fits(name string, l Line) error {
	for _, c := range b.cuts {
		if c.Last.Seq == l.Event.Seq && c.Last.Hash != l.Hash {
			return schemas.Errorf(schemas.Integrity, "%s: event %d is not the one that event %d says retention removes", name, l.Event.Seq, c.Seq).
				WithHint("restore it from a copy of the workspace; nothing was written to it")
		}
	}
	return nil
}

// Cut removes the events up to last, which the log's pending cut must name.
// What stays, stays byte for byte. check is asked right before the shorter log
// takes the place of the present one. If that fails, nothing more can be
// appended: how the log begins shows when it is opened again.
func (c *Chain) Cut(last Head, check func() error) error {
	info, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	f, err := c.disk.Create(c.path, 0o600)
	if err != nil {
		return err
	}
	defer f.Discard()
	out, size := bufio.NewWriterSize(f, 1<<16), int64(0)
	end, err := ReadLines(c.path, func(l Line) error {
		if l.Event.Seq <= last.Seq {
			return nil
		}
		size += int64(len(l.Raw))
		_, err := out.Write(l.Raw)
		return err
	})
	switch {
	case err != nil:
		return err
	case end.Head != c.head || end.Torn:
		return schemas.Errorf(schemas.Integrity, "%s was changed meanwhile", c.path).
			WithHint("find out what was changed with: optsweep verify")
	case end.Pending == nil || end.Pending.Last != last:
		return fmt.Errorf("%s: no event says that those up to %d are removed", c.path, last.Seq)
	}
	if err := errors.Join(out.Flush(), f.Chmod(info.Mode().Perm())); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	err = f.Publish()
	if err == nil {
		before := c.log
		if c.log, err = c.disk.OpenLog(c.path, size, false); err == nil {
			return before.Close()
		}
		c.log = before
	}
	c.broken = fmt.Errorf("shorten %s: %w", c.path, err)
	return c.broken
}
