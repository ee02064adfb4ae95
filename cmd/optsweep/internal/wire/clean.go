package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"optsweep/connectors/parquet"
	"optsweep/jobs/gate"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// cleaner writes a clean copy of one table of Parquet files.
type cleaner struct {
	table *parquet.Table
	out   string
}

// newCleaner tells whether a copy can be made at all. It is called before
// anything is read.
func newCleaner(tables []gate.Table, o GateOptions) (cleaner, error) {
	if o.Clean == "" {
		return cleaner{}, nil
	}
	if len(tables) != 1 {
		return cleaner{}, schemas.Errorf(schemas.Usage, "--clean is for one file, one data set or one table, not for %d", len(tables)).WithHint("name one with --table, or one file or pattern")
	}
	table, ok := tables[0].Source.(*parquet.Table)
	if !ok {
		return cleaner{}, schemas.Errorf(schemas.Usage, "--clean is for Parquet files").WithHint("of a BigQuery table select the rows whose flag is NULL, or use its view of active rows")
	}
	return cleaner{table: table, out: filepath.Clean(o.Clean)}, nil
}

// copy writes the copy, unless something but breaches keeps the gate shut. All
// files are complete and checked before the first is put in place.
func (c cleaner) copy(ctx context.Context, v *gate.Verdict) (err error) {
	if !v.ButForBreaches() {
		return nil
	}
	paths, err := c.paths(v)
	if err != nil {
		return err
	}
	clean := &schemas.GateClean{Files: []schemas.GateCleanFile{}}
	var copies []*parquet.Copy
	defer func() {
		for _, one := range copies {
			one.Discard()
		}
	}()
	for i, u := range v.Units {
		one, err := c.table.Clean(ctx, u.Unit, v.OptedOut.Since, paths[i])
		if err != nil {
			return schemas.Errorf(schemas.ClassOf(err), "clean copy of %s: %w", u.Name, err)
		}
		copies = append(copies, one)
		clean.Files = append(clean.Files, schemas.GateCleanFile{File: paths[i], Rows: one.Rows, Removed: one.Removed, SHA256: one.SHA256})
		clean.Rows += one.Rows
		clean.Removed += one.Removed
	}
	for _, one := range copies {
		if err := one.Publish(); err != nil {
			return err
		}
	}
	v.Clean = clean
	v.Settle(true)
	return nil
}

// paths are where the copies go: one file for one file, otherwise a folder that
// is new or empty.
func (c cleaner) paths(v *gate.Verdict) ([]string, error) {
	info, err := os.Stat(c.out)
	folder := err == nil && info.IsDir()
	if len(v.Units) == 1 && !folder {
		if parent, err := os.Stat(filepath.Dir(c.out)); err != nil || !parent.IsDir() {
			return nil, schemas.Errorf(schemas.Usage, "there is no folder %s", filepath.Dir(c.out))
		}
		return []string{c.out}, nil
	}
	if err == nil && !folder {
		return nil, schemas.Errorf(schemas.Usage, "%s is a file, the copy has %d", c.out, len(v.Units)).WithHint("name a new folder with --clean")
	}
	if entries, err := os.ReadDir(c.out); err == nil && len(entries) > 0 {
		return nil, schemas.Errorf(schemas.Usage, "%s is not empty", c.out).WithHint("name a new folder with --clean")
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	paths := make([]string, len(v.Units))
	for i, u := range v.Units {
		if !filepath.IsLocal(filepath.FromSlash(u.Name)) {
			return nil, schemas.Errorf(schemas.Usage, "%s lies outside the folder of its table", u.Name)
		}
		paths[i] = filepath.Join(c.out, filepath.FromSlash(u.Name))
		if err := (durable.Disk{}).MkdirAll(filepath.Dir(paths[i]), 0o755); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
