//go:build unix

package parquet

import (
	"io/fs"
	"syscall"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// keepMode gives a new file the owner of the old one, if this user may, and its
// permissions, which it must.
func keepMode(f *durable.File, old fs.FileInfo) error {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok {
		// Only root may give a file away; a group the user is in works for all.
		if f.Chown(int(stat.Uid), int(stat.Gid)) != nil {
			_ = f.Chown(-1, int(stat.Gid))
		}
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return schemas.Errorf(schemas.Failed, "cannot keep its permissions: %w", err)
	}
	return nil
}
