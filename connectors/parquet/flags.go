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
	clear     func(cell []byte) bool // whose flags are taken away; nil: none
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
	ids, err := s.meta.Chunks(s.id)
	if err != nil {
		return nil, err
	}
	var flags []footer.Chunk
	if s.flags >= 0 {
		if flags, err = s.meta.Chunks(s.flags); err != nil {
			return nil, err
		}
	}
	groups := make([]group, len(ids))
	starts := make([]int64, len(ids))
	for i := 1; i < len(ids); i++ {
		starts[i] = starts[i-1] + ids[i-1].Values
	}
	var next atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	for range min(t.Workers, len(ids)) {
		workers.Go(func() error {
			m := merger{rule: r, ids: chunk.NewReader(s.file, s.meta.Columns[s.id])}
			defer m.ids.Close()
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
	ids, flags *chunk.Reader
}

func (m *merger) merge(ctx context.Context, ids footer.Chunk, old *footer.Chunk, start int64) (g group, err error) {
	var before, after []chunk.Flag
	if old != nil {
		if before, err = m.flags.Flags(ctx, *old); err != nil {
			return g, err
		}
	}
	c := &g.counts
	err = m.ids.Cells(ctx, ids, func(first int64, cells [][]byte) error {
		for i, cell := range cells {
			row := first + int64(i)
			var found bool
			var at int64
			if cell == nil {
				c.Nulls++
			} else if at, found = m.since(cell); found {
				c.OptedOut++
			}
			had := len(before) > 0 && before[0].Row == row
			if !found && !had {
				continue
			}
			if had && m.clear != nil && cell != nil && m.clear(cell) {
				before = before[1:]
				c.Cleared++
				continue
			}
			if m.missing != nil && found && (!had || at < before[0].SinceMS) {
				m.missing(start+row, cell)
			}
			switch {
			case !had:
				c.NewlyFlagged++
			case !found:
				at = before[0].SinceMS
				c.Kept++
			case at < before[0].SinceMS:
				c.MovedEarlier++
			default:
				at = before[0].SinceMS
			}
			if had {
				before = before[1:]
			}
			after = append(after, chunk.Flag{Row: row, SinceMS: at})
			g.proof.add(start+row, at)
		}
		return nil
	})
	if err != nil {
		return g, err
	}
	c.Rows, c.Flagged = ids.Values, int64(len(after))
	g.changed = c.NewlyFlagged > 0 || c.MovedEarlier > 0 || c.Cleared > 0
	g.bytes, g.pages, err = chunk.AppendFlags(nil, ids.Values, after)
	return g, err
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
