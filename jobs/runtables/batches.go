package runtables

import (
	"errors"
	"fmt"
	"io/fs"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
)

// batches passes on a row for each line of the journal of answers.
func (r *reader) batches() error {
	row := r.start()
	return r.journal(func(l ledger.Line) error {
		b, err := sweep.ReadBatch(l.Event)
		if err != nil {
			return err
		}
		row = rest(row, b.Batch, b.AsOfMS, int64(b.Count), int64(b.OptedOut), int64(b.Count-b.OptedOut-b.Rejected), int64(b.Rejected),
			b.Digest, l.Event.Seq, l.Hash, unlessEmpty(l.Event.Prev))
		return r.each(row)
	})
}

// optOuts passes on a row for each id that was found opted out, in the order
// of the answers.
func (r *reader) optOuts() error {
	pseudonyms, err := r.layout.Pseudonyms()
	if err != nil {
		return err
	}
	row := r.start()
	return r.journal(func(l ledger.Line) error {
		b, err := sweep.ReadAskedBatch(l.Event)
		if err != nil {
			return err
		}
		for _, o := range b.OptedOut {
			row = rest(row, pseudonyms.ID(o.ID), o.SinceMS, b.AsOfMS, b.Batch.Batch)
			if err := r.each(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// journal reads the journal of answers, one line in memory at a time. That of
// a run whose check is finished must be the one that the ledger knows.
func (r *reader) journal(each func(ledger.Line) error) error {
	path := r.layout.Run(r.run.ID, sweep.CheckJournal)
	end, err := ledger.ReadLines(path, func(l ledger.Line) error {
		if l.Event.Run != r.run.ID {
			return tampered("%s: line %d belongs to run %s", path, l.Event.Seq, l.Event.Run)
		}
		if err := each(l); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, l.Event.Seq, err)
		}
		return nil
	})
	switch missing := errors.Is(err, fs.ErrNotExist); {
	case missing && (r.checked == nil || r.checked.Batches == 0):
		return nil // nothing was asked
	case missing:
		r.gone("journal of answers")
		return nil
	case err != nil:
		return err
	case r.checked != nil && end.Hash != r.checked.Journal:
		return tampered("%s is not the journal that the ledger knows", path)
	}
	return nil
}

// unlessEmpty is NULL for an empty text.
func unlessEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}
