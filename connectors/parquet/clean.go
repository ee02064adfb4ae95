package parquet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"optsweep/connectors/parquet/chunk"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Copy is a clean copy of a unit, complete and checked, that is not in place
// yet: Publish or Discard it.
type Copy struct {
	Rows    int64
	Removed int64
	SHA256  string // of the file, in hexadecimal

	out interface {
		Publish() error
		Discard()
	}
}

// Publish puts the copy in place.
func (c *Copy) Publish() error { return c.out.Publish() }

// Discard drops a copy that was not published.
func (c *Copy) Discard() { c.out.Discard() }

// Clean makes a copy of a unit without the rows whose id is opted out and those
// that have a flag. What is left keeps its order, its values bit for bit, its
// row groups (empty ones are left out) and the file's schema and metadata, but
// for page indexes and Bloom filters. Row groups without such rows are copied as
// they are; others are encoded anew, column by column, with the codec of each
// column. The copy is read back before Clean returns: schema, rows, and every
// value and NULL. A file that cannot be carried like that is refused.
func (t *Table) Clean(ctx context.Context, u schemas.Unit, since Since, path string) (copied *Copy, err error) {
	s, err := t.open(u.Location)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.version != u.Version {
		return nil, errChanged()
	}
	if same(s, path) {
		return nil, schemas.Errorf(schemas.Usage, "the clean copy would take the place of the file itself").WithHint("name another file with --clean")
	}
	if err := checkChunks(ctx, s); err != nil {
		return nil, err
	}
	drop, err := t.dropped(ctx, s, since)
	if err != nil {
		return nil, err
	}
	out, err := t.Disk.Create(path, 0o600)
	if err != nil {
		return nil, writeError(err)
	}
	defer func() {
		if err != nil {
			out.Discard()
		}
	}()
	c := cleaning{ctx: ctx, workers: t.Workers, drop: drop}
	if err := c.write(s, out); err != nil {
		return nil, err
	}
	if err := keepMode(out, s.info); err != nil {
		return nil, err
	}
	if err := out.Sync(); err != nil {
		return nil, writeError(err)
	}
	if err := c.confirm(t, s, out, since); err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if _, err := io.Copy(sum, out.File); err != nil {
		return nil, err
	}
	if err := t.unchanged(ctx, u); err != nil {
		return nil, err
	}
	return &Copy{Rows: c.rows, Removed: s.meta.Rows - c.rows, SHA256: hex.EncodeToString(sum.Sum(nil)), out: out}, nil
}

// same tells whether path is the file of s.
func same(s *source, path string) bool {
	info, err := os.Stat(path)
	if err == nil {
		return os.SameFile(info, s.info)
	}
	a, errA := filepath.Abs(path)
	b, errB := filepath.Abs(s.file.Name())
	return errA == nil && errB == nil && a == b
}

// A copy holds all values of a column chunk at a time. So many of them are
// carried whatever the size of the file; beyond, as many as its bytes could hold
// ids.
const (
	freeValues = 1 << 22
	perByte    = 64
)

// checkChunks proves what arrow v17 takes for granted of every column, so that
// it allocates no more than the file can hold.
func checkChunks(ctx context.Context, s *source) error {
	return s.meta.EachChunk(func(c footer.Chunk) error {
		if c.Values > freeValues && c.Values/perByte > s.meta.Size {
			return schemas.Errorf(schemas.Failed, "claims %d values in %d bytes", c.Values, s.meta.Size).
				WithHint("write the file anew in smaller row groups")
		}
		if err := chunk.Walk(ctx, s.file, c); err != nil {
			return schemas.Errorf(schemas.Failed, "a column %w", err).
				WithHint("the file is damaged: restore it or write it anew")
		}
		return nil
	})
}

// dropped tells of each row group which rows the copy leaves out: in mode
// suppression those whose id is on the list, too.
func (t *Table) dropped(ctx context.Context, s *source, since Since) ([][]bool, error) {
	reader := newIDReader(s.file, s.meta, s.id)
	defer reader.Close()
	if t.Mode == Suppression {
		known, _, err := t.known()
		if err != nil {
			return nil, err
		}
		asked := since
		since = func(cell []byte) (int64, bool) {
			if ms, listed := known[string(cell)]; listed {
				return ms, true
			}
			return asked(cell)
		}
	}
	drop := make([][]bool, len(s.ids))
	for g, c := range s.ids {
		gone := make([]bool, c.Rows)
		if err := reader.each(ctx, c, func(first int64, rows []int64, cells [][]byte) error {
			for i, cell := range cells {
				if cell == nil {
					continue
				}
				if _, hit := since(cell); hit {
					gone[rowOf(first, rows, i)] = true
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
		drop[g] = gone
	}
	if s.flags < 0 {
		return drop, nil
	}
	chunks, err := s.meta.Chunks(s.flags)
	if err != nil {
		return nil, err
	}
	flagReader := chunk.NewReader(s.file, s.meta.Columns[s.flags])
	defer flagReader.Close()
	for g, c := range chunks {
		flags, err := flagReader.Flags(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, f := range flags {
			drop[g][f.Row] = true
		}
	}
	return drop, nil
}

// confirmIDs reads the ids back in the way in which a run reads them.
func (c *cleaning) confirmIDs(t *Table, f *durable.File, size int64, since Since) error {
	meta, err := footer.Read(f, size)
	if err != nil {
		return err
	}
	id, err := findID(meta, t.IDColumn, t.IDEncoding)
	if err != nil {
		return err
	}
	chunks, err := meta.Chunks(id.leaf)
	if err != nil {
		return err
	}
	reader := newIDReader(f, meta, id)
	defer reader.Close()
	rows := int64(0)
	for _, ch := range chunks {
		rows += ch.Rows // each reads all of them, or fails
		if err := reader.each(c.ctx, ch, func(_ int64, _ []int64, cells [][]byte) error {
			c.cells += int64(len(cells))
			for _, cell := range cells {
				if cell == nil {
					c.nulls++
					continue
				}
				if _, hit := since(cell); hit {
					return errors.Join(errUnconfirmed(), errors.New("an opted-out row is left"))
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if rows != c.rows {
		return errUnconfirmed()
	}
	return nil
}
