package prove

import (
	"bytes"
	"context"
	"encoding/base64"
	"sync"

	"golang.org/x/sync/errgroup"

	"optsweep/schemas"
)

// maxRows is the number of rows that are listed of one unit; all are counted.
const maxRows = 1000

// scan looks the id up in all units of the tables. Units come in the order of
// the tables' plans.
func scan(ctx context.Context, q Question) (*schemas.ProofScan, []schemas.ProofUnit, error) {
	s := &schemas.ProofScan{Failures: []schemas.UnitFailure{}}
	var mu sync.Mutex // of s and found
	found := map[int]schemas.ProofUnit{}
	fail := func(u schemas.Unit, err error) {
		s.Failures = append(s.Failures, schemas.UnitFailure{Table: u.Table, Unit: u.Name, Error: err.Error(), Hint: schemas.HintOf(err)})
	}
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(max(1, q.Workers))
	look := newLook(q.ID, q.Rules)
	for _, t := range q.Tables {
		units, failures, err := t.Source.Plan(ctx)
		mu.Lock()
		s.Failures = append(s.Failures, failures...)
		if err != nil {
			fail(schemas.Unit{Table: t.Name, Name: "(all)"}, err)
		}
		mu.Unlock()
		for _, u := range units {
			u.Table = t.Name
			at := s.Units
			s.Units++
			tasks.Go(func() error {
				if err := taskCtx.Err(); err != nil {
					return err
				}
				p, rows, err := look.unit(taskCtx, t, u)
				mu.Lock()
				defer mu.Unlock()
				s.Rows += rows
				if err != nil {
					fail(u, err)
				}
				if p.Count > 0 {
					found[at] = p
				}
				return taskCtx.Err()
			})
		}
	}
	if err := tasks.Wait(); err != nil {
		return nil, nil, err
	}
	inOrder := []schemas.ProofUnit{}
	for at := range s.Units {
		if p, ok := found[at]; ok {
			inOrder = append(inOrder, p)
		}
	}
	return s, inOrder, ctx.Err()
}

// look finds the cells that hold an id.
type look struct {
	id        schemas.ID
	rules     schemas.Rules
	canonical []byte
	misspelt  [][]byte
}

func newLook(id schemas.ID, rules schemas.Rules) look {
	urlSafe := base64.URLEncoding.AppendEncode(nil, id.Raw())
	l := look{id: id, rules: rules, canonical: id.AppendText(nil)}
	for _, text := range [][]byte{urlSafe, bytes.TrimRight(urlSafe, "="), bytes.TrimRight(l.canonical, "=")} {
		if !bytes.Equal(text, l.canonical) {
			l.misspelt = append(l.misspelt, text)
		}
	}
	return l
}

// unit searches one unit and counts its rows.
func (l look) unit(ctx context.Context, t Table, u schemas.Unit) (p schemas.ProofUnit, rows int64, err error) {
	p = schemas.ProofUnit{Table: t.Name, Unit: u.Name, Version: u.Version, Rows: []int64{}}
	last := int64(schemas.NoRow)
	err = t.Source.Scan(ctx, u, func(c schemas.Cells) error {
		rows += c.Rows()
		for i, cell := range c.Values {
			holds, misspelt := l.holds(cell)
			row := c.Row(i)
			if !holds || row != schemas.NoRow && row == last {
				continue // a list may hold the id twice
			}
			last = row
			p.Count += c.Count(i)
			if misspelt {
				p.Misspelt += c.Count(i)
			}
			if len(p.Rows) < maxRows && row != schemas.NoRow {
				p.Rows = append(p.Rows, row)
			}
		}
		return ctx.Err()
	})
	return p, rows, err
}

// holds tells whether a cell holds the id, and whether in a spelling that a run
// does not accept. White space around it makes no difference.
func (l look) holds(cell []byte) (holds, misspelt bool) {
	if len(cell) < schemas.TextSize-1 {
		return false, false
	}
	if bytes.Equal(cell, l.canonical) {
		return true, false
	}
	if len(cell) == schemas.TextSize && bytes.IndexByte(cell, '-') < 0 && bytes.IndexByte(cell, '_') < 0 {
		return false, false // the usual case: another id
	}
	if id, _, reason := l.rules.Parse(cell); reason == schemas.Valid {
		return id == l.id, false
	}
	text := bytes.TrimSpace(cell)
	for _, other := range l.misspelt {
		if bytes.Equal(text, other) {
			return true, true
		}
	}
	return false, false
}
