package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

// Plan lists the units of the table, with what reading them would be billed
// for. It reads metadata only, but for the rows of views, queries and parts of
// tables, which a query counts. The error is for a table that cannot be used.
func (t *Table) Plan(ctx context.Context) ([]schemas.Unit, []schemas.UnitFailure, error) {
	meta, err := t.inspect(ctx)
	if err != nil {
		return nil, nil, err
	}
	var units []schemas.Unit
	var failed []schemas.UnitFailure
	for _, p := range t.parts() {
		u := schemas.Unit{Table: t.Table, Name: p.name, Location: t.location()}
		if err := t.measure(ctx, &u, t.source(p.predicate), meta); err != nil {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			failed = append(failed, schemas.UnitFailure{Table: t.Table, Unit: p.name, Error: err.Error(), Hint: schemas.HintOf(err)})
			continue
		}
		units = append(units, u)
	}
	return units, failed, nil
}

func (t *Table) location() string {
	if t.Query != "" {
		return "query in " + t.c.Project
	}
	return t.Ref.String()
}

// inspect fetches what is known of the table and refuses what cannot be
// treated. For a query there is nothing to know.
func (t *Table) inspect(ctx context.Context) (*bigquery.TableMetadata, error) {
	if t.Query != "" {
		return nil, nil
	}
	m, found, err := t.c.metadata(ctx, t.Ref)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, schemas.Errorf(schemas.Failed, "there is no table %s", t.Ref).
			WithHint("check its name, and that the service account may see it: optsweep doctor")
	}
	switch m.Type {
	case bigquery.RegularTable, "":
	case bigquery.ViewTable, bigquery.MaterializedView, bigquery.ExternalTable, bigquery.Snapshot:
		if t.Write.Mode != Suppression {
			return nil, schemas.Errorf(schemas.Failed, "%s is a %s: nothing can be written into it", t.Ref, strings.ToLower(strings.ReplaceAll(string(m.Type), "_", " "))).
				WithHint("use write mode suppression")
		}
	default:
		return nil, schemas.Errorf(schemas.Failed, "%s is a %s, which is not supported", t.Ref, m.Type)
	}
	for _, p := range t.ids {
		if err := p.check(m.Schema); err != nil {
			return nil, err
		}
	}
	_, err = t.flagColumn(m)
	return m, err
}

// check finds the column of a path in a schema.
func (p path) check(schema bigquery.Schema) error {
	for i, s := range p {
		var field *bigquery.FieldSchema
		var names []string
		for _, f := range schema {
			names = append(names, f.Name)
			if strings.EqualFold(f.Name, s.name) {
				field = f
			}
		}
		switch {
		case field == nil:
			return schemas.Errorf(schemas.Failed, "there is no column %s", p[:i+1]).
				WithHint("there are: %s", strings.Join(names[:min(len(names), 20)], ", "))
		case field.Repeated && !s.repeated:
			return schemas.Errorf(schemas.Failed, "column %s is repeated", p[:i+1]).WithHint("write %s[]", p[:i+1])
		case !field.Repeated && s.repeated:
			return schemas.Errorf(schemas.Failed, "column %s is not repeated", p[:i+1]).WithHint("write it without []")
		case i < len(p)-1 && field.Type != bigquery.RecordFieldType:
			return schemas.Errorf(schemas.Failed, "column %s is no STRUCT", p[:i+1])
		case i == len(p)-1 && field.Type != bigquery.StringFieldType:
			return schemas.Errorf(schemas.Failed, "column %s is of type %s, not STRING", p, field.Type).
				WithHint("name a column of strings that hold ids in base64, or a field of a STRUCT: a.b")
		case i == len(p)-1 && field.Collation != "":
			return schemas.Errorf(schemas.Failed, "column %s has the collation %s, which takes ids that differ in case for the same", p, field.Collation).
				WithHint("alter the column to COLLATE ''")
		}
		schema = field.Schema
	}
	return nil
}

// flagColumn tells whether the table has the flag column, and refuses one that
// is not like ours.
func (t *Table) flagColumn(m *bigquery.TableMetadata) (bool, error) {
	if t.Write.Mode != Column {
		return false, nil
	}
	for _, f := range m.Schema {
		if !strings.EqualFold(f.Name, t.Write.Column) {
			continue
		}
		if f.Type != bigquery.TimestampFieldType || f.Repeated || f.Required {
			return false, schemas.Errorf(schemas.Failed, "%s has a column %q that is not a nullable TIMESTAMP", t.Ref, f.Name).
				WithHint("rename it, or choose another name with write.column")
		}
		return true, nil
	}
	return false, nil
}

// measure fills in what a unit is and what it costs.
func (t *Table) measure(ctx context.Context, u *schemas.Unit, s source, m *bigquery.TableMetadata) error {
	stage, err := t.stageSQL(ctx, s, m)
	if err != nil {
		return err
	}
	if u.ScanBytes, err = t.c.price(ctx, "staging ids of "+t.Table, stage); err != nil {
		return err
	}
	if m != nil && len(s.predicates) == 0 && s.simple() && m.ViewQuery == "" && m.Type == bigquery.RegularTable {
		u.Rows, u.Bytes = int64(m.NumRows), m.NumBytes
	} else {
		var n struct{ Total int64 }
		if err := t.c.ask(ctx, "count rows of "+t.Table, s.count(), &n); err != nil {
			return err
		}
		u.Rows, u.Bytes = n.Total, u.ScanBytes
	}
	if m != nil && t.Write.Mode != Suppression {
		// A statement is billed for all columns of the partitions that it
		// changes; then ids and flags are read back.
		u.WriteBytesMax = m.NumBytes + u.ScanBytes
	}
	u.Version = t.version(m, u.Rows)
	return nil
}

// version differs when the content may differ. What cannot be told of a view
// or query, its rows stand in for.
func (t *Table) version(m *bigquery.TableMetadata, rows int64) string {
	if m == nil {
		return fmt.Sprintf("query-%s-%d", digest(t.Query)[:16], rows)
	}
	if m.ViewQuery != "" || m.Type != bigquery.RegularTable && m.Type != "" {
		return fmt.Sprintf("view-%s-%d-%d", digest(m.ViewQuery)[:16], millis(m.LastModifiedTime), rows)
	}
	v := fmt.Sprintf("%d-%d-%d", millis(m.LastModifiedTime), m.NumRows, m.NumBytes)
	if b := m.StreamingBuffer; b != nil {
		v += fmt.Sprintf("-streaming-%d-%d", b.EstimatedRows, b.EstimatedBytes)
	}
	return v
}

// Version returns the current version of a unit. Of a table it differs from an
// earlier one whenever somebody has changed the table.
func (t *Table) Version(ctx context.Context, u schemas.Unit) (string, error) {
	m, err := t.inspect(ctx)
	if err != nil {
		return "", err
	}
	return t.version(m, u.Rows), nil
}

// RemoveLeftovers removes the files that killed processes left on this machine.
// Staging tables expire by themselves. Only the holder of the lease may call
// it.
func (t *Table) RemoveLeftovers([]schemas.Unit) error {
	for _, kind := range []string{hitsKind, rowsKind} {
		if err := removeOthers(t.c.Temp, kind); err != nil {
			return err
		}
	}
	return nil
}

// removeOthers removes the files of one kind of other processes.
func removeOthers(dir, kind string) error {
	paths, err := filepath.Glob(filepath.Join(dir, tempPattern(kind, "*")))
	if err != nil {
		return err
	}
	mine := tempPattern(kind, strconv.Itoa(os.Getpid()))
	for _, path := range paths {
		if used, err := filepath.Match(mine, filepath.Base(path)); used || err != nil {
			continue // of a table that is being written
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
