package parquet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"golang.org/x/sync/errgroup"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// copyStep is how much is copied between two looks at the context.
const copyStep = 32 << 20

// Apply puts the flags of a unit into its file. A flag that is there is never
// cleared and only moves to an earlier time; a file whose column would not
// change is not touched. The column is added even if all of it is NULL, so that
// the files of a table keep one schema.
//
// commit is called when the new file is complete, durable and confirmed under
// a temporary name, just before it takes the place of the old one, with the
// receipt that Apply will return; if it fails, nothing is published. If Apply
// fails or is killed at any time, the file is the old one or the new one,
// whole; Version tells which.
//
// The new file keeps the mode of the old one, and its owner where this user
// may give files away. A symbolic link stays one: its target is replaced.
//
// In mode remove the same holds of taking rows out; in mode suppression no file
// of the table is touched, and what Apply has found is visible after Finish.
func (t *Table) Apply(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	switch t.Mode {
	case Suppression:
		return t.suppress(ctx, u, since, commit)
	case Remove:
		return t.remove(ctx, u, since, commit)
	}
	return t.rewrite(ctx, u, rule{since: since, addColumn: true}, commit)
}

// Clear takes the flags of the rows away whose cell matches. It is for an
// explicit act on single ids; everything else is as in Apply, but a file that
// has no such flag stays as it is, even without the column. A row that also has
// a cell of others, who are opted out, keeps its flag; only of lists are they
// asked for. What mode remove has taken out stays in its quarantine.
func (t *Table) Clear(ctx context.Context, u schemas.Unit, match, others func(cell []byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	switch t.Mode {
	case Suppression:
		return t.unsuppress(ctx, u, match, commit)
	case Remove:
		return t.untouched(ctx, u)
	}
	return t.rewrite(ctx, u, rule{since: never, clear: match, others: others}, commit)
}

func never([]byte) (int64, bool) { return 0, false }

// rewrite puts the flags that follow from a rule into a unit.
func (t *Table) rewrite(ctx context.Context, u schemas.Unit, r rule, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	c, err := t.begin(u)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer c.close()

	// A file without the column certainly changes: copy while decoding.
	work, workCtx := errgroup.WithContext(ctx)
	if c.flags < 0 && r.addColumn {
		work.Go(func() error { return c.copyBase(workCtx, t.Disk) })
	}
	var groups []group
	work.Go(func() (err error) {
		groups, err = t.flag(workCtx, c.source, r)
		return err
	})
	if err := work.Wait(); err != nil {
		return schemas.Receipt{}, err
	}
	receipt, want, err := c.receipt(groups, r.addColumn)
	if err != nil || !receipt.Changed {
		return receipt, errors.Join(err, t.unchanged(ctx, u))
	}
	if c.out == nil {
		if err := c.copyBase(ctx, t.Disk); err != nil {
			return schemas.Receipt{}, err
		}
	}
	if err := c.finish(groups); err != nil {
		return schemas.Receipt{}, err
	}
	if receipt.Confirmed, err = confirm(c.out, receipt.BytesAfter, c.meta, t.Type, want); err != nil {
		return schemas.Receipt{}, err
	}
	if receipt.VersionAfter, err = versionOf(c.out); err != nil {
		return schemas.Receipt{}, err
	}
	if err := errors.Join(ctx.Err(), t.unchanged(ctx, u)); err != nil {
		return schemas.Receipt{}, err
	}
	if err := commit(receipt); err != nil {
		return schemas.Receipt{}, err
	}
	if err := c.out.Publish(); err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	c.replaced = true
	return receipt, nil
}

// Preview works out the receipt of Apply and writes nothing. The new file is
// put together in memory as far as it differs, and confirmed there. Only
// VersionAfter stays empty if the file would change: it depends on the time of
// the change.
func (t *Table) Preview(ctx context.Context, u schemas.Unit, since Since) (schemas.Receipt, error) {
	switch t.Mode {
	case Suppression:
		receipt, _, err := t.compare(ctx, u, since, nil, nil)
		return receipt, err
	case Remove:
		return t.previewRemoval(ctx, u, since)
	}
	c, err := t.begin(u)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer c.close()
	groups, err := t.flag(ctx, c.source, rule{since: since, addColumn: true})
	if err != nil {
		return schemas.Receipt{}, err
	}
	receipt, want, err := c.receipt(groups, true)
	if err != nil {
		return schemas.Receipt{}, err
	}
	if receipt.Changed {
		receipt.VersionAfter = ""
		if receipt.Confirmed, err = confirm(c.assemble(groups), receipt.BytesAfter, c.meta, t.Type, want); err != nil {
			return schemas.Receipt{}, err
		}
	}
	return receipt, t.unchanged(ctx, u)
}

// unchanged checks that the file is still what it was planned as.
func (t *Table) unchanged(ctx context.Context, u schemas.Unit) error {
	now, err := t.Version(ctx, u)
	if err == nil && now != u.Version {
		err = errChanged()
	}
	return err
}

// change is the making of a unit's new file.
type change struct {
	*source
	unit   schemas.Unit
	typ    footer.FlagType   // that the flag column gets
	target string            // of the unit's path, if that is a symbolic link
	base   *footer.Meta      // the part of the file that is kept
	edits  map[string]string // of its application metadata
	tail   *footer.Tail      // what follows the pages of the flag column
	out    *durable.File

	replaced bool // the old file by the new one
}

// begin opens a unit for a change.
func (t *Table) begin(u schemas.Unit) (*change, error) {
	target, err := resolve(u.Location)
	if err != nil {
		return nil, err
	}
	if err := (folders{}).check(target); err != nil {
		return nil, err
	}
	s, err := t.open(target)
	if err != nil {
		return nil, err
	}
	c := &change{source: s, unit: u, typ: t.Type, target: target}
	if s.version != u.Version {
		err = errChanged()
	} else {
		c.base, c.edits, err = t.baseOf(s)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close drops the new file unless it was published.
func (c *change) close() {
	if c.replaced {
		go c.source.close() // the system now frees the space of the old file, which takes it as long as a copy
		return
	}
	if c.out != nil {
		c.out.Discard()
	}
	c.source.close()
}

// receipt sums the counts up and works out the tail of the new file, if it
// needs one. Confirmed counts the flags that were just read from a file that
// stays as it is.
func (c *change) receipt(groups []group, addColumn bool) (schemas.Receipt, proof, error) {
	r, want, changed := total(groups)
	r.Table, r.Unit = c.unit.Table, c.unit.Name
	r.VersionBefore, r.VersionAfter = c.unit.Version, c.unit.Version
	r.BytesBefore, r.BytesAfter = c.meta.Size, c.meta.Size
	if !changed && (!addColumn || c.flags >= 0 && c.flagType == c.typ) {
		r.Confirmed = r.Flagged
		return r, want, nil
	}
	r.Changed = true
	pages := make([][]footer.Page, len(groups))
	r.BytesAfter = c.base.Size
	for i, g := range groups {
		pages[i] = g.pages
		r.BytesAfter += int64(len(g.bytes))
	}
	var err error
	if c.tail, err = c.base.AddColumn(c.column, c.typ, pages, c.edits); err != nil {
		return schemas.Receipt{}, proof{}, err
	}
	r.BytesAfter += c.tail.Size
	return r, want, nil
}

// copyBase starts the new file beside the old one with the bytes that are kept,
// copied within the kernel where it can.
func (c *change) copyBase(ctx context.Context, disk durable.Disk) (err error) {
	if c.out, err = disk.Create(c.target, 0o600); err != nil {
		return writeError(err)
	}
	c.out.WriteEarly()
	if err := c.out.Reserve(c.base.Size); err != nil {
		return writeError(err)
	}
	// Decoding uses ReadAt, so the file's position is free for the copy.
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for left := c.base.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := c.out.ReadFrom(&io.LimitedReader{R: c.file, N: min(left, copyStep)})
		if err != nil {
			return writeError(err)
		}
		if n == 0 {
			return errChanged()
		}
		left -= n
	}
	return nil
}

// finish writes what follows the copy and makes the new file durable.
func (c *change) finish(groups []group) error {
	w := bufio.NewWriterSize(c.out, 1<<16)
	for _, r := range c.tailPieces(groups) {
		if _, err := io.Copy(w, r); err != nil {
			return writeError(err)
		}
	}
	if err := w.Flush(); err != nil {
		return writeError(err)
	}
	if err := keepMode(c.out, c.info); err != nil {
		return err
	}
	if err := c.out.Sync(); err != nil {
		return writeError(err)
	}
	return nil
}

// tailPieces are the pieces of the new file behind the base.
func (c *change) tailPieces(groups []group) []*io.SectionReader {
	var pieces []*io.SectionReader
	for _, g := range groups {
		pieces = append(pieces, io.NewSectionReader(bytes.NewReader(g.bytes), 0, int64(len(g.bytes))))
	}
	for _, p := range c.tail.Parts {
		if p.Bytes != nil {
			pieces = append(pieces, io.NewSectionReader(bytes.NewReader(p.Bytes), 0, int64(len(p.Bytes))))
		} else {
			pieces = append(pieces, io.NewSectionReader(c.file, p.Copy.Offset, p.Copy.Length))
		}
	}
	return pieces
}

// writeError says what to do about a write that failed.
func writeError(err error) error {
	e := schemas.Errorf(schemas.Failed, "cannot be written: %w", err)
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return e.WithHint("free disk space: the new file is written in full beside the old one, which is untouched")
	case errors.Is(err, syscall.EFBIG):
		return e.WithHint("raise the limit on the size of files (ulimit -f), or write the table in smaller files")
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return e.WithHint("give this user permission to create files in the folder")
	}
	return e
}
