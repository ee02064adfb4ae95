// Package demo makes up a data set to try the program on: Parquet files that
// look like the customer table of an advertiser, with advertising ids of every
// kind, and the list of those that are opted out. Nothing in it belongs to a
// real person: all of it comes from a seeded random generator.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/schemas"
)

// Options say what to make. The same options give the same bytes.
type Options struct {
	Dir         string // folder for the files; made if it is not there
	Rows        int64  // of all files together; 0: DefaultRows
	Files       int    // 0: DefaultFiles; never more than Rows
	Seed        uint64
	Scope       schemas.Scope
	Environment schemas.Environment
	Now         time.Time // the latest moment in the data; required
	Narrow      bool      // 3 columns beside the id instead of 36, for benchmarks
}

// What Options mean by 0.
const (
	DefaultRows  = 1_000_000
	DefaultFiles = 4
)

// IDColumn is the name of the column that holds the ids.
const IDColumn = "euid"

// Truth is what a run over the files must find.
type Truth struct {
	Files []File
	Counts
	Distinct         int64            // distinct valid ids
	DistinctOptedOut int64            // of those, opted out
	OptOuts          []schemas.OptOut // these, and after them some that are in no row
}

// File is one Parquet file.
type File struct {
	Path  string
	Bytes int64
	Counts
}

// Counts are numbers of rows: Rows = Nulls + all of Malformed + Valid.
type Counts struct {
	Rows      int64
	Nulls     int64
	Malformed map[schemas.Reason]int64
	Valid     int64 // including Repaired
	Repaired  int64 // valid, with white space around
	OptedOut  int64 // valid, and the id is opted out
}

func (c *Counts) add(o Counts) {
	c.Rows += o.Rows
	c.Nulls += o.Nulls
	c.Valid += o.Valid
	c.Repaired += o.Repaired
	c.OptedOut += o.OptedOut
	if c.Malformed == nil {
		c.Malformed = make(map[schemas.Reason]int64)
	}
	for reason, n := range o.Malformed {
		c.Malformed[reason] += n
	}
}

// Generate writes the files part-00000.parquet and so on to o.Dir, as many at
// a time as there are processors, and tells what is in them. After an error
// some files may be missing, but none is cut short.
func Generate(ctx context.Context, o Options) (*Truth, error) {
	if o.Rows == 0 {
		o.Rows = DefaultRows
	}
	if o.Files == 0 {
		o.Files = DefaultFiles
	}
	switch {
	case o.Rows < 0 || o.Files < 0:
		return nil, fmt.Errorf("demo data: %d rows in %d files", o.Rows, o.Files)
	case o.Now.IsZero():
		return nil, errors.New("demo data: no time given")
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("demo data: %w", err)
	}
	files := min(int64(o.Files), o.Rows)
	parts := make([]part, files)
	pop := newPopulation(o)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range files {
		group.Go(func() (err error) {
			path := filepath.Join(o.Dir, fmt.Sprintf("part-%05d.parquet", i))
			parts[i], err = writePart(ctx, path, pop, o, o.Rows*i/files, o.Rows*(i+1)/files)
			if err != nil {
				return fmt.Errorf("demo data: %s: %w", path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	truth := &Truth{}
	for _, p := range parts {
		truth.Files = append(truth.Files, p.File)
		truth.add(p.Counts)
		truth.Distinct += p.distinct
		truth.OptOuts = append(truth.OptOuts, p.optOuts...)
	}
	truth.DistinctOptedOut = int64(len(truth.OptOuts))
	truth.OptOuts = append(truth.OptOuts, pop.strangers(truth.DistinctOptedOut/50+3)...)
	return truth, nil
}

// MalformedRows counts the rows of all reasons together.
func (c *Counts) MalformedRows() (n int64) {
	for _, count := range c.Malformed {
		n += count
	}
	return n
}
