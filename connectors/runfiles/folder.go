package runfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/parquet/file"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const (
	fileMode   = 0o640
	folderMode = 0o750
	suffix     = ".parquet"
)

// RunRows passes on the rows that a run has in one run table, each with its
// values in the order of the columns. A row is valid until each returns.
type RunRows = func(t schemas.RunTable, each func(row []any) error) error

// Folder is a folder of run tables.
type Folder struct {
	Dir  string
	Disk durable.Disk
}

// Path is the file of a run in a run table. Names of jobs have no "_" in them.
func (f Folder) Path(table, job, run string) string {
	return filepath.Join(f.Dir, table, job+"_"+run+suffix)
}

// Published lists the runs of a job that are in the folder, by id, each with
// the number of the ledger event up to which it is told there. A run whose
// ledger went on since is to be published again.
func (f Folder) Published(ctx context.Context, job string) (map[string]int64, error) {
	runs := map[string]int64{}
	entries, err := os.ReadDir(filepath.Join(f.Dir, schemas.RunsTable))
	if errors.Is(err, fs.ErrNotExist) {
		return runs, nil
	}
	for _, e := range entries {
		run, ok := strings.CutPrefix(e.Name(), job+"_")
		run, parquet := strings.CutSuffix(run, suffix)
		if !ok || !parquet || err != nil {
			continue
		}
		if err = ctx.Err(); err == nil {
			runs[run], err = last(filepath.Join(f.Dir, schemas.RunsTable, e.Name()), job, run)
		}
	}
	return runs, err
}

// last reads from the file of a run up to which event of the ledger it tells.
func last(path, job, run string) (seq int64, err error) {
	damaged := schemas.Errorf(schemas.Failed, "%s is not what this program has written there", path).
		WithHint("remove it if it is no file of yours: optsweep publish writes it again")
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			seq, err = 0, damaged
		}
	}()
	in, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	r, err := file.NewParquetReader(in)
	if err != nil {
		return 0, damaged
	}
	values := map[string]string{}
	for _, kv := range r.MetaData().KeyValueMetadata() {
		values[kv.GetKey()] = kv.GetValue()
	}
	seq, err = strconv.ParseInt(values[keyLast], 10, 64)
	if err != nil || values[keyTable] != schemas.RunsTable || values[keyJob] != job || values[keyRun] != run {
		return 0, damaged
	}
	return seq, nil
}

// PublishRun puts the rows of a run that has ended into the files of the run,
// in place of those that an earlier call has put there. The same rows give the
// same bytes. What a killed process has left of a file is removed; nobody else
// may publish into the folder meanwhile for the same job.
func (f Folder) PublishRun(ctx context.Context, job string, run schemas.RunRef, rows RunRows) error {
	for _, t := range slices.Backward(schemas.RunTables()) { // optsweep_runs last
		if err := f.write(ctx, t, job, run.ID, rows); err != nil {
			return fmt.Errorf("%s: %w", f.Path(t.Name, job, run.ID), err)
		}
	}
	return nil
}

// write puts the file of one run table in place.
func (f Folder) write(ctx context.Context, t schemas.RunTable, job, run string, rows RunRows) error {
	path := f.Path(t.Name, job, run)
	if err := f.Disk.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	if err := removeLeftovers(path); err != nil {
		return err
	}
	out, err := f.Disk.Create(path, fileMode)
	if err != nil {
		return err
	}
	defer out.Discard()
	if err := encode(ctx, out, t, job, run, rowsPerGroup, rows); err != nil {
		return err
	}
	return out.Publish()
}

// removeLeftovers removes what killed processes have left of the file at path.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+filepath.Base(path)+".") && strings.HasSuffix(e.Name(), durable.TempSuffix) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
