package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"optsweep/connectors/bigquery"
	"optsweep/connectors/parquet"
	"optsweep/jobs/config"
	"optsweep/jobs/gate"
	"optsweep/jobs/idset"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// The connectors fit the seams of the gate.
var (
	_ gate.Source = (*parquet.Table)(nil)
	_ gate.Finder = (*parquet.Table)(nil)
	_ gate.Source = (*bigquery.Table)(nil)
)

// GateOptions say what must be clean.
type GateOptions struct {
	Tables     []string // of the job; empty: all, unless there are files
	Files      []string // paths or patterns of Parquet files
	IDColumn   string   // of the files; empty: that of the job
	IDEncoding string   // base64 or binary; empty: as in tables of the job, or by the type of the column
	FlagColumn string   // of the files; empty: that of the job
	MaxAge     time.Duration
	Ask        bool
	Clean      string // file or folder for a copy without opted-out ids; empty: none
}

// givenFiles is what the gate calls the files that were given.
const givenFiles = "files"

// Gate tells whether tables may leave the house, and those about a table that
// may not whom the job file names. It writes nothing but the clean copy, if one
// is wanted, and takes no lease of the workspace.
func Gate(ctx context.Context, s System, job *config.Job, o GateOptions) (schemas.GateResult, error) {
	result, err := lookThrough(ctx, s, job, o)
	if schemas.ClassOf(err) != schemas.Gate {
		return result, err
	}
	for _, t := range result.Tables {
		if !t.OK {
			TellGate(ctx, s, job, t.Table, t.Breaches, whyShut(t))
		}
	}
	return result, err
}

// whyShut says in a few words what keeps a table from passing.
func whyShut(t schemas.GateTable) string {
	switch {
	case t.Breaches > 0:
		return fmt.Sprintf("%d rows of opted-out ids lack their flag", t.Breaches)
	case len(t.Failures) > 0:
		return fmt.Sprintf("%d of its units could not be read", len(t.Failures))
	case t.Stale:
		return "it was not checked lately"
	default:
		return "a part of it was not checked"
	}
}

// lookThrough is the gate itself.
func lookThrough(ctx context.Context, s System, job *config.Job, o GateOptions) (result schemas.GateResult, err error) {
	stores, err := openTables(ctx, s, job)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	q := gate.Question{
		Job: job.Name, ConfigDigest: job.Digest(), Rules: job.Rules(), All: stores.names, MaxAge: o.MaxAge,
		Workers: workers(job), Memory: job.Limits.MemoryBytes / 2, Now: s.Now,
	}
	if q.Tables, err = gateTables(job, stores, o); err != nil {
		return result, err
	}
	clean, err := newCleaner(q.Tables, o)
	if err != nil {
		return result, err
	}
	if q.Temp, err = gateFolder(job, s.Now()); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(q.Temp)) }()
	if o.Ask {
		asked, askErr := newAsked(ctx, s, job)
		if askErr != nil {
			return result, askErr
		}
		defer asked.close()
		release, leaseErr := leaseKey(s, job, asked)
		if leaseErr != nil {
			return result, leaseErr
		}
		defer func() { err = errors.Join(err, release()) }()
		q.Ask = asked.sorted
	}
	verdict, err := gate.Check(ctx, sweep.Layout(job.Workspace), q)
	if err != nil {
		return verdict.GateResult, err
	}
	if o.Clean != "" {
		if err := clean.copy(ctx, &verdict); err != nil {
			return verdict.GateResult, err
		}
	}
	return verdict.GateResult, verdict.Err()
}

// gateFolder makes a folder for ids, and removes those of gates that were killed
// long ago.
func gateFolder(job *config.Job, now time.Time) (string, error) {
	if err := sweep.Layout(job.Workspace).Check(); err != nil {
		return "", err
	}
	dir := filepath.Join(job.Workspace, "tmp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	left, err := filepath.Glob(filepath.Join(dir, "gate-*"))
	if err != nil {
		return "", err
	}
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > 48*time.Hour {
			if err := os.RemoveAll(path); err != nil {
				return "", err
			}
		}
	}
	return os.MkdirTemp(dir, "gate-") // mode 0700
}

// sorted asks about the ids in a file, canaries first, and keeps no answer.
func (a asked) sorted(ctx context.Context, path string) (found []schemas.OptOut, sum schemas.GateAsked, err error) {
	if a.canaries != nil {
		if sum.Canaries, err = a.canaries(ctx); err != nil {
			return nil, sum, err
		}
	}
	size, _ := a.checker.Limits()
	batch := make([]schemas.ID, 0, size)
	ask := func() error {
		if len(batch) == 0 {
			return nil
		}
		answer, err := a.checker.Check(ctx, batch)
		sum.IDs += int64(len(batch))
		sum.OptedOut += int64(len(answer.OptedOut))
		sum.Unverifiable += int64(len(answer.Rejected))
		found, batch = append(found, answer.OptedOut...), batch[:0]
		return err
	}
	if err := idset.EachID(ctx, path, func(id schemas.ID) error {
		if batch = append(batch, id); len(batch) == size {
			return ask()
		}
		return nil
	}); err != nil {
		return nil, sum, err
	}
	return found, sum, ask()
}

// gateTables are the tables and files to look at.
func gateTables(job *config.Job, st stores, o GateOptions) (tables []gate.Table, err error) {
	for _, name := range o.Tables {
		if !slices.Contains(st.names, name) {
			return nil, schemas.Errorf(schemas.Usage, "--table: the job has no such table").WithHint("it has: %s", strings.Join(st.names, ", "))
		}
	}
	for i, name := range st.names {
		if slices.Contains(o.Tables, name) || len(o.Tables)+len(o.Files) == 0 {
			tables = append(tables, gate.Table{Name: name, Source: st.list[i]})
		}
	}
	if len(o.Files) == 0 {
		return tables, nil
	}
	if o.IDColumn, err = sameOf(job, o.IDColumn, "id column", "--id-column", func(t config.Table) string { return t.Parquet.IDColumn }); err != nil {
		return nil, err
	}
	if o.FlagColumn == "" {
		o.FlagColumn, err = sameOf(job, "", "flag column", "--flag-column", func(t config.Table) string { return t.Write.Column })
		if err != nil {
			o.FlagColumn = config.DefaultColumn
		}
	}
	encoding, typ, err := columnsOf(job, o)
	if err != nil {
		return nil, err
	}
	for _, path := range o.Files {
		name := givenFiles
		if len(o.Files) > 1 {
			name = filepath.ToSlash(path)
		}
		if _, err := os.Stat(path); err == nil {
			path = quotePattern(path)
		}
		t, err := parquet.New(parquet.Options{Table: name, Path: path, IDColumn: o.IDColumn, IDEncoding: encoding, Column: o.FlagColumn, Type: typ})
		if err != nil {
			return nil, err
		}
		tables = append(tables, gate.Table{Name: name, Source: t, Given: true})
	}
	return tables, nil
}

// columnsOf finds how the ids and the flags of given files are encoded: as in the
// tables of the job with these columns, which must agree.
func columnsOf(job *config.Job, o GateOptions) (encoding parquet.Encoding, typ parquet.FlagType, err error) {
	encoding = parquet.Encoding(o.IDEncoding)
	first := true
	for _, t := range job.Tables {
		if t.BigQuery != nil || t.Parquet.IDColumn != o.IDColumn || t.Write.Column != o.FlagColumn {
			continue
		}
		e, f := parquet.Encoding(t.Parquet.IDEncoding), parquet.FlagType(t.Write.Type)
		if o.IDEncoding != "" {
			e = parquet.Encoding(o.IDEncoding)
		}
		if !first && (e != encoding || f != typ) {
			return "", "", schemas.Errorf(schemas.Usage, "the tables of the job have this id column in different encodings, or the flag column in different types").
				WithHint("give the tables of the job instead of files")
		}
		encoding, typ, first = e, f, false
	}
	return encoding, typ, nil
}

// sameOf is given, or what all Parquet tables of the job have in common.
func sameOf(job *config.Job, given, what, flag string, of func(config.Table) string) (string, error) {
	if given != "" {
		return given, nil
	}
	for _, t := range job.Tables {
		if t.BigQuery != nil {
			continue
		}
		if given != "" && given != of(t) {
			return "", schemas.Errorf(schemas.Usage, "the tables of the job do not have the same %s", what).WithHint("name that of the files with %s", flag)
		}
		given = of(t)
	}
	if given == "" {
		return "", schemas.Errorf(schemas.Usage, "the %s of the files is not known", what).WithHint("name it with %s", flag)
	}
	return given, nil
}

// quotePattern makes a pattern that matches one path only.
func quotePattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `{`, `\{`).Replace(path)
}
