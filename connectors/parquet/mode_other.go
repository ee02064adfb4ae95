//go:build !unix

package parquet

import (
	"io/fs"
	"os"
)

// keepMode does nothing where files have no Unix permissions.
func keepMode(*os.File, fs.FileInfo) error { return nil }
