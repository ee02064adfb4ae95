package optoutlog

import (
	"context"
	"fmt"
	"time"

	"optsweep/schemas"
)

// RowOptions say which file of opt-outs to read, and how. They are those of an
// import, but the opt-outs of a file without a time column may have one time.
type RowOptions struct {
	Path       string
	Format     Format
	IDColumn   string
	TimeColumn string    // empty: Since
	Unit       TimeUnit  // of TimeColumn
	Since      time.Time // of all opt-outs; zero: TimeColumn
	Rules      schemas.Rules
	Now        time.Time
}

// Check tells whether the options fit together. It reads no file.
func (o RowOptions) Check() error {
	_, err := o.importer(context.Background())
	return err
}

func (o RowOptions) importer(ctx context.Context) (*importer, error) {
	opts := ImportOptions{Path: o.Path, Format: o.Format, IDColumn: o.IDColumn, TimeColumn: o.TimeColumn, Unit: o.Unit, Rules: o.Rules}
	switch {
	case o.TimeColumn == "" && o.Since.IsZero():
		return nil, schemas.Errorf(schemas.Usage, "import needs the time of the opt-outs").
			WithHint("name a column with --time-column and its --time-unit, or give one time for all with --since")
	case o.TimeColumn != "" && !o.Since.IsZero():
		return nil, schemas.Errorf(schemas.Usage, "name either a time column or one time for all opt-outs")
	case !o.Since.IsZero():
		opts.since = o.Since.Unix()
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	im := newImporter(ctx, opts, o.Now)
	if opts.since != 0 && (opts.since < im.earliest || opts.since > im.latest) {
		return nil, schemas.Errorf(schemas.Usage, "%s is no time at which people opted out", o.Since.Format(time.RFC3339)).
			WithHint("give a time between 2015 and now")
	}
	return im, nil
}

// RowCounts says what was read. Rows = Valid + the sum of Bad.
type RowCounts struct {
	Rows  int64
	Valid int64
	Bad   map[schemas.Reason]int64
}

// ReadRows reads the opt-outs of a file, row by row: valid gets the ids with
// the second of their opt-out, bad the number of each other row (from 0,
// without a header), the reason, and the id's cell, which is nil for NULL.
func ReadRows(ctx context.Context, o RowOptions, valid func(id schemas.ID, second int64) error, bad func(row int64, reason schemas.Reason, cell []byte) error) (RowCounts, error) {
	im, err := o.importer(ctx)
	if err != nil {
		return RowCounts{}, err
	}
	im.take = valid
	im.bad = func(row int64, reason string, cell []byte) error { return bad(row, schemas.Reason(reason), cell) }
	if err := im.run(); err != nil {
		return RowCounts{}, fmt.Errorf("import %s: %w", o.Path, err)
	}
	counts := RowCounts{Rows: im.result.Rows, Valid: im.result.Imported, Bad: map[schemas.Reason]int64{}}
	for reason, n := range im.result.Bad {
		counts.Bad[schemas.Reason(reason)] = n
	}
	return counts, nil
}
