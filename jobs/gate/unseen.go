package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// unseen finds the ids that need a look: all that no list knows, if the operator
// is asked; otherwise those of given files that the last run has not seen.
func (g *gate) unseen(ctx context.Context) error {
	if g.q.Ask != nil {
		path, err := g.collect(ctx, -1)
		if err != nil {
			return err
		}
		found, asked, err := g.q.Ask(ctx, path)
		if err != nil {
			return err
		}
		g.verdict.Asked = &asked
		return g.known.OptedOut.Add(found...)
	}
	for i, t := range g.q.Tables {
		if !t.Given {
			continue
		}
		path, err := g.collect(ctx, i)
		if err == nil {
			g.verdict.Tables[i].UncheckedIDs, err = g.unchecked(ctx, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// collect puts the distinct ids of table number i, or of all if that is
// negative, that are on no list into a sorted file.
func (g *gate) collect(ctx context.Context, i int) (path string, err error) {
	builder := idset.NewBuilder(idset.Options{Spill: g.q.Temp, Memory: g.q.Memory})
	defer builder.Close()
	var buf []schemas.ID
	for n, u := range g.verdict.Units {
		if i >= 0 && g.tables[n] != i {
			continue
		}
		var keepErr, rawErr error
		scanErr := u.Source.Scan(ctx, u.Unit, func(c schemas.Cells) error {
			buf = buf[:0]
			for _, cell := range c.Values {
				if cell == nil {
					continue
				}
				id, _, reason := g.q.Rules.Parse(cell)
				if reason == schemas.RawBytes {
					rawErr = schemas.Errorf(schemas.Failed, "holds ids in raw bytes, which were read as text").
						WithHint("say so with id_encoding: binary in the job file, or --id-encoding binary")
				}
				if reason != schemas.Valid {
					continue // no operator would know it
				}
				if _, ok := g.known.OptedOut.SinceID(id); !ok {
					buf = append(buf, id)
				}
			}
			keepErr = errors.Join(builder.Add(buf), ctx.Err())
			return keepErr
		})
		switch {
		case keepErr != nil:
			return "", keepErr
		case ctx.Err() != nil:
			return "", ctx.Err()
		case scanErr != nil || rawErr != nil:
			g.fail(n, errors.Join(scanErr, rawErr))
		}
	}
	path = filepath.Join(g.q.Temp, fmt.Sprintf("gate-%d.ids", i))
	_, err = builder.WriteFile(ctx, path)
	return path, err
}

// unchecked counts the ids in a file that the last run that asked did not see.
func (g *gate) unchecked(ctx context.Context, path string) (n int64, err error) {
	seen, err := g.known.Seen()
	if err != nil {
		return 0, err
	}
	if seen != nil {
		defer seen.Close()
	}
	walk := walker{reader: seen, buf: make([]schemas.ID, 4096)}
	err = idset.EachID(ctx, path, func(id schemas.ID) error {
		has, err := walk.has(id)
		if !has {
			n++
		}
		return err
	})
	return n, err
}

// walker walks through sorted ids beside others.
type walker struct {
	reader *idset.Reader // nil: empty
	buf    []schemas.ID
	rest   []schemas.ID
}

func (w *walker) has(id schemas.ID) (bool, error) {
	for w.reader != nil {
		for ; len(w.rest) > 0; w.rest = w.rest[1:] {
			if c := idset.Compare(w.rest[0], id); c >= 0 {
				return c == 0, nil
			}
		}
		n, err := w.reader.Next(w.buf)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		w.rest = w.buf[:n]
	}
	return false, nil
}
