package parquet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"optsweep/schemas"
)

// CheckWrite finds out whether what the mode puts beside the files of the table
// can be written, without leaving anything behind. In mode column there is
// nothing.
func (t *Table) CheckWrite() error {
	switch {
	case t.Mode == Suppression:
		if _, _, err := t.known(); err != nil {
			return err
		}
		return t.mayCreate(filepath.Dir(t.List))
	case t.Mode == Remove && t.Removed != "":
		return t.mayCreate(t.Removed)
	}
	return nil
}

// mayCreate tries to make a file in a folder, or in the nearest one above it that
// exists.
func (t *Table) mayCreate(dir string) error {
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return writeError(err)
	}
	if !info.IsDir() {
		return schemas.Errorf(schemas.Failed, "%s is no folder", dir).WithHint("name another place with write.path")
	}
	f, err := t.Disk.Create(filepath.Join(dir, "optsweep-doctor"), 0o600)
	if err != nil {
		return writeError(err)
	}
	f.Discard()
	return nil
}
