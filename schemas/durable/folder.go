package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll makes a folder, with those above it that are missing, so that it
// survives a power loss: each folder that got a new entry is synced. What is in
// a folder is lost with it, however well it was synced itself. The folder above
// dir is synced in any case, since a killed process may have made dir just
// before.
func (d Disk) MkdirAll(dir string, mode fs.FileMode) error {
	above := []string{filepath.Dir(dir)}
	for at := above[0]; filepath.Dir(at) != at; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = append(above, filepath.Dir(at))
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	for i := len(above) - 1; i >= 0; i-- {
		if err := d.SyncDir(above[i]); err != nil {
			return err
		}
	}
	return nil
}
