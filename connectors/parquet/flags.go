package parquet

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"optsweep/connectors/parquet/chunk"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// Since tells when the id in a cell was opted out, in Unix ms; ok is false if
// the cell holds no opted-out id. It must be safe for concurrent use and always
// give the same answer.
type Since = func(cell []byte) (sinceMS int64, ok bool)

// rule decides which flags a file gets.
type rule struct {
	since     Since
	rows      schemas.RowTimes       // in place of since and the cells; nil: they are read
	clear     func(cell []byte) bool // whose flags are taken away; nil: none
	others    func(cell []byte) bool // who keep the flag of a row with several ids; nil: all
	addColumn bool                   // to a file that has none, even if no row is flagged

	missing func(row int64, cell []byte) // gets each row whose flag is missing or late; nil: none. Called concurrently
}

// group is the flag column of one row group.
type group struct {
	pages   []footer.Page
	bytes   []byte // of the pages
	counts  schemas.Receipt
	changed bool // against the column that is there
	proof   proof
}

// proof sums up a flag column: how many values it has, and a number that
// depends on each value and its row.
type proof struct {
	flags int64
	sum   uint64
}

func (p *proof) add(row, sinceMS int64) {
	p.flags++
	p.sum += uint64(sinceMS) * (2*uint64(row) + 1)
}

// flag works out the flag column of a file, several row groups at a time. The
// memory it takes grows with the number of flags, not with the file.
func (t *Table) flag(ctx context.Context, s *source, r rule) ([]group, error) {
	ids := s.ids
	var flags []footer.Chunk
	var err error
	if s.flags >= 0 {
		if flags, err = s.meta.Chunks(s.flags); err != nil {
			return nil, err
		}
	}
	foreign := s.flags >= 0 && s.flagType == footer.Integer && t.added(s) == nil
	groups := make([]group, len(ids))
	starts := make([]int64, len(ids))
	for i := 1; i < len(ids); i++ {
		starts[i] = starts[i-1] + ids[i-1].Rows
	}
	var next atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	for range min(t.Workers, len(ids)) {
		workers.Go(func() error {
			m := merger{rule: r, foreign: foreign}
			if r.rows == nil {
				m.ids = newIDReader(s.file, s.meta, s.id)
				defer m.ids.Close()
			}
			if flags != nil {
				m.flags = chunk.NewReader(s.file, s.meta.Columns[s.flags])
				defer m.flags.Close()
			}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return nil
				}
				var old *footer.Chunk
				if flags != nil {
					old = &flags[i]
				}
				var err error
				if groups[i], err = m.merge(ctx, ids[i], old, starts[i]); err != nil {
					return err
				}
			}
		})
	}
	return groups, workers.Wait()
}

// merger joins the flags found with those that are there: a flag only moves to
// an earlier time, and only the rule's clear takes one away.
type merger struct {
	rule
	ids     *idReader
	flags   *chunk.Reader
	foreign bool // flags are integers that another program may have written
}

func (m *merger) merge(ctx context.Context, ids footer.Chunk, old *footer.Chunk, start int64) (g group, err error) {
	f := folder{rule: m.rule, g: &g, start: start}
	if old != nil {
		if f.before, err = m.flags.Flags(ctx, *old); err != nil {
			return g, err
		}
		if m.foreign {
			if err := checkTimes(f.before); err != nil {
				return g, err
			}
		}
	}
	if m.rows != nil {
		err = f.foldRows(ctx, m.rows, ids.Rows)
	} else {
		err = m.foldCells(ctx, ids, &f)
	}
	if err != nil {
		return g, err
	}
	c := &g.counts
	c.Rows, c.Flagged = ids.Values, int64(len(f.after))
	g.changed = c.NewlyFlagged > 0 || c.MovedEarlier > 0 || c.Cleared > 0
	g.bytes, g.pages, err = chunk.AppendFlags(nil, ids.Rows, f.after)
	return g, err
}

// foldCells folds the rows of a row group by their cells.
func (m *merger) foldCells(ctx context.Context, ids footer.Chunk, f *folder) error {
	c := &f.g.counts
	list := listRow{row: -1}
	err := m.ids.each(ctx, ids, func(first int64, rows []int64, cells [][]byte) error {
		if rows != nil {
			f.lists(&list, rows, cells)
			return nil
		}
		for i, cell := range cells {
			row := first + int64(i)
			var found bool
			var at int64
			if cell == nil {
				c.Nulls++
			} else if at, found = m.since(cell); found {
				c.OptedOut++
			}
			if found || f.had(row) {
				f.fold(row, cell, at, found, cell != nil && m.clear != nil && m.clear(cell))
			}
		}
		return nil
	})
	f.endRow(&list)
	return err
}

// Times from 1973 to 5138 if they are ms: what counts seconds, microseconds or
// nanoseconds since 1970 is not in between.
const firstMS, lastMS = 1e11, 1e14

// checkTimes refuses integers that are no times in ms.
func checkTimes(flags []chunk.Flag) error {
	for _, f := range flags {
		if f.SinceMS < firstMS || f.SinceMS > lastMS {
			return schemas.Errorf(schemas.Failed, "the flag column holds numbers that are no times in ms").
				WithHint("another program has written it: rename it, or choose another name with write.column")
		}
	}
	return nil
}

// folder puts the new flags of a row group together, row by row.
type folder struct {
	rule
	g      *group
	start  int64        // row of the row group in the file
	before []chunk.Flag // that are there, of this row and those behind it
	after  []chunk.Flag
}

// had tells whether a row has a flag.
func (f *folder) had(row int64) bool { return len(f.before) > 0 && f.before[0].Row == row }

// fold decides on a row that has a flag, or whose cell is opted out since at.
func (f *folder) fold(row int64, cell []byte, at int64, found, clear bool) {
	c := &f.g.counts
	had := f.had(row)
	var old int64
	if had {
		old = f.before[0].SinceMS
		f.before = f.before[1:]
	}
	if had && clear {
		c.Cleared++
		return
	}
	if f.missing != nil && found && (!had || at < old) {
		f.missing(f.start+row, cell)
	}
	switch {
	case !had:
		c.NewlyFlagged++
	case !found:
		at = old
		c.Kept++
	case at < old:
		c.MovedEarlier++
	default:
		at = old
	}
	f.after = append(f.after, chunk.Flag{Row: row, SinceMS: at})
	f.g.proof.add(f.start+row, at)
}

// total adds the counts of all row groups up.
func total(groups []group) (r schemas.Receipt, p proof, changed bool) {
	for _, g := range groups {
		r.Rows += g.counts.Rows
		r.Nulls += g.counts.Nulls
		r.OptedOut += g.counts.OptedOut
		r.Flagged += g.counts.Flagged
		r.NewlyFlagged += g.counts.NewlyFlagged
		r.MovedEarlier += g.counts.MovedEarlier
		r.Kept += g.counts.Kept
		r.Cleared += g.counts.Cleared
		p.flags += g.proof.flags
		p.sum += g.proof.sum
		changed = changed || g.changed
	}
	return r, p, changed
}
