package parquet

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// copyStep is how much is copied between two looks at the context.
const copyStep = 64 << 20

// Apply puts the flags of a unit into its file. A flag that is there is never
// cleared and only moves to an earlier time; a file whose column would not
// change is not touched. The column is added even if all of it is NULL, so that
// the files of a table keep one schema.
//
// commit is called when the new file is complete, durable and confirmed under
// a temporary name, just before it takes the place of the old one, with the
// receipt that Apply will return; if it fails, nothing is published. If Apply fails or is
// killed at any time, the file is the old one or the new one, whole; Version
// tells which.
//
// The new file keeps the mode of the old one, and its owner where this user
// may give files away. A symbolic link stays one: its target is replaced.
func (t *Table) Apply(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	target, err := filepath.EvalSymlinks(u.Location)
	if err != nil {
		return schemas.Receipt{}, openError(err)
	}
	if err := (folders{}).check(target); err != nil {
		return schemas.Receipt{}, err
	}
	s, err := t.openAs(u, target)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer s.close()
	base, edits, err := t.baseOf(s)
	if err != nil {
		return schemas.Receipt{}, err
	}

	// A file without the column certainly changes: copy while decoding.
	var out *durable.File
	var groups []group
	work, workCtx := errgroup.WithContext(ctx)
	if s.flags < 0 {
		work.Go(func() (err error) {
			out, err = t.copyBase(workCtx, s, base.Size, target)
			return err
		})
	}
	work.Go(func() (err error) {
		groups, err = t.flag(workCtx, s, since)
		return err
	})
	err = work.Wait()
	defer func() {
		if out != nil {
			out.Discard()
		}
	}()
	if err != nil {
		return schemas.Receipt{}, err
	}

	receipt, want, changed := t.receipt(u, s, groups)
	if !changed {
		return receipt, t.unchanged(ctx, u)
	}
	if out == nil {
		if out, err = t.copyBase(ctx, s, base.Size, target); err != nil {
			return schemas.Receipt{}, err
		}
	}
	tail, err := base.AddColumn(t.Column, pagesOf(groups), edits)
	if err != nil {
		return schemas.Receipt{}, err
	}
	if err := writeTail(out, s, groups, tail); err != nil {
		return schemas.Receipt{}, err
	}
	if err := keepMode(out.File, s.info); err != nil {
		return schemas.Receipt{}, err
	}
	if err := out.Sync(); err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	after := u
	after.Bytes = sizeOf(base, groups, tail)
	if receipt.Confirmed, err = confirm(out.File, after.Bytes, s.meta, want); err != nil {
		return schemas.Receipt{}, err
	}
	if after.Version, err = versionOf(out.File); err != nil {
		return schemas.Receipt{}, err
	}
	receipt.VersionAfter, receipt.BytesAfter = after.Version, after.Bytes
	if err := errors.Join(ctx.Err(), t.unchanged(ctx, u)); err != nil {
		return schemas.Receipt{}, err
	}
	if err := commit(receipt); err != nil {
		return schemas.Receipt{}, err
	}
	if err := out.Publish(); err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	return receipt, nil
}

// Preview works out the receipt of Apply and writes nothing. The new file is
// put together in memory as far as it differs, and confirmed there. Only
// VersionAfter stays empty if the file would change: it depends on the time of
// the change.
func (t *Table) Preview(ctx context.Context, u schemas.Unit, since Since) (schemas.Receipt, error) {
	target, err := filepath.EvalSymlinks(u.Location)
	if err != nil {
		return schemas.Receipt{}, openError(err)
	}
	if err := (folders{}).check(target); err != nil {
		return schemas.Receipt{}, err
	}
	s, err := t.openAs(u, target)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer s.close()
	base, edits, err := t.baseOf(s)
	if err != nil {
		return schemas.Receipt{}, err
	}
	groups, err := t.flag(ctx, s, since)
	if err != nil {
		return schemas.Receipt{}, err
	}
	receipt, want, changed := t.receipt(u, s, groups)
	if changed {
		tail, err := base.AddColumn(t.Column, pagesOf(groups), edits)
		if err != nil {
			return schemas.Receipt{}, err
		}
		receipt.VersionAfter, receipt.BytesAfter = "", sizeOf(base, groups, tail)
		if receipt.Confirmed, err = confirm(assemble(s, base, groups, tail), receipt.BytesAfter, s.meta, want); err != nil {
			return schemas.Receipt{}, err
		}
	}
	return receipt, t.unchanged(ctx, u)
}

// receipt makes the receipt of an unchanged file, and tells whether the file
// has to change. Confirmed counts the flags that were just read.
func (t *Table) receipt(u schemas.Unit, s *source, groups []group) (schemas.Receipt, proof, bool) {
	r, want, changed := total(groups)
	r.Table, r.Unit = u.Table, u.Name
	r.VersionBefore, r.VersionAfter = u.Version, u.Version
	r.BytesBefore, r.BytesAfter = s.meta.Size, s.meta.Size
	r.Confirmed = r.Flagged
	r.Changed = changed || s.flags < 0
	return r, want, r.Changed
}

// unchanged checks that the file is still what it was planned as.
func (t *Table) unchanged(ctx context.Context, u schemas.Unit) error {
	now, err := t.Version(ctx, u)
	if err == nil && now != u.Version {
		err = errChanged()
	}
	return err
}

// copyBase starts a new file beside target with the first size bytes of the
// old one, copied within the kernel where it can.
func (t *Table) copyBase(ctx context.Context, s *source, size int64, target string) (out *durable.File, err error) {
	if out, err = t.Disk.Create(target, 0o600); err != nil {
		return nil, writeError(err)
	}
	defer func() {
		if err != nil {
			out.Discard()
			out = nil
		}
	}()
	// Decoding uses ReadAt, so the file's position is free for the copy.
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := out.ReadFrom(&io.LimitedReader{R: s.file, N: min(left, copyStep)})
		if err != nil {
			return nil, writeError(err)
		}
		if n == 0 {
			return nil, errChanged()
		}
		left -= n
	}
	return out, nil
}

func writeTail(out *durable.File, s *source, groups []group, tail *footer.Tail) error {
	w := bufio.NewWriterSize(out, 1<<20)
	for _, g := range groups {
		if _, err := w.Write(g.bytes); err != nil {
			return writeError(err)
		}
	}
	for _, p := range tail.Parts {
		var err error
		if p.Bytes != nil {
			_, err = w.Write(p.Bytes)
		} else {
			_, err = io.Copy(w, io.NewSectionReader(s.file, p.Copy.Offset, p.Copy.Length))
		}
		if err != nil {
			return writeError(err)
		}
	}
	if err := w.Flush(); err != nil {
		return writeError(err)
	}
	return nil
}

func pagesOf(groups []group) [][]footer.Page {
	pages := make([][]footer.Page, len(groups))
	for i, g := range groups {
		pages[i] = g.pages
	}
	return pages
}

func sizeOf(base *footer.Meta, groups []group, tail *footer.Tail) int64 {
	size := base.Size + tail.Size
	for _, g := range groups {
		size += int64(len(g.bytes))
	}
	return size
}

// writeError says what to do about a write that failed.
func writeError(err error) error {
	e := schemas.Errorf(schemas.Failed, "cannot be written: %w", err)
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return e.WithHint("free disk space: the new file is written in full beside the old one, which is untouched")
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return e.WithHint("give this user permission to create files in the folder, or use write mode suppression")
	}
	return e
}
