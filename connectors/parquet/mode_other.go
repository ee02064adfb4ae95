//go:build !unix

package parquet

import (
	"io/fs"

	"optsweep/schemas/durable"
)

// keepMode does nothing where files have no Unix permissions.
func keepMode(*durable.File, fs.FileInfo) error { return nil }
