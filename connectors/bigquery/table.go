package bigquery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

// Mode says how opt-outs are written back.
type Mode string

// The modes.
const (
	Column      Mode = "column"      // a nullable TIMESTAMP column of the table itself
	Suppression Mode = "suppression" // a table of suppressed ids beside it, and views
	Remove      Mode = "remove"      // the rows are deleted
)

// SuppressionTable is the name of the table that mode suppression keeps.
const SuppressionTable = "optsweep_suppression"

// Write says how opt-outs are written back.
type Write struct {
	Mode   Mode
	Column string // mode column: its name

	Dataset    TableRef // modes suppression and remove: where optsweep's own tables are
	Views      bool     // mode suppression: keep views of active and suppressed rows
	Authorized bool     // mode suppression: let the views read the table for those who may not

	DropRemoved bool // mode remove: keep no copy of removed rows

	Stream bool // stage hits with the Storage Write API in place of load jobs
}

// Options describe a table.
type Options struct {
	Table      string   // name of the table in the job file
	Ref        TableRef // table or view; empty: Query
	Query      string   // that gives the rows
	IDColumns  []string // paths, see CheckColumn
	Filter     string   // SQL condition on the rows that count; empty: all
	Partitions []string // static SQL conditions, each one unit; empty: one unit
	Scope      schemas.Scope
	Write      Write
}

// Table is a table of BigQuery, or a view or query where nothing but a
// suppression table is written. It is safe for concurrent use on different
// units.
type Table struct {
	Options
	c     *Client
	ids   []path
	adhoc string // stands for the run where there is none
}

// New checks the options.
func New(c *Client, o Options) (*Table, error) {
	t := &Table{Options: o, c: c, adhoc: "adhoc-" + c.Now().UTC().Format("20060102t150405.000")}
	if len(o.IDColumns) == 0 {
		return nil, schemas.Errorf(schemas.Usage, "table %q has no id column", o.Table)
	}
	for _, s := range o.IDColumns {
		p, err := parsePath(s)
		if err != nil {
			return nil, errName(err)
		}
		t.ids = append(t.ids, p)
		if o.Write.Mode == Column && len(p) == 1 && strings.EqualFold(p[0].name, o.Write.Column) {
			return nil, schemas.Errorf(schemas.Usage, "table %q would write over its id column %q", o.Table, s)
		}
	}
	switch {
	case (o.Query == "") == (o.Ref == TableRef{}):
		return nil, schemas.Errorf(schemas.Usage, "table %q needs either a table or a query", o.Table)
	case o.Query != "" && o.Write.Mode != Suppression:
		return nil, schemas.Errorf(schemas.Usage, "table %q is a query: nothing can be written into it", o.Table).
			WithHint("use write mode suppression")
	case o.Query != "" && o.Write.Authorized:
		return nil, schemas.Errorf(schemas.Usage, "table %q is a query, which cannot authorize a view", o.Table)
	}
	return t, nil
}

// source is what a unit reads.
func (t *Table) source(partition string) source {
	s := source{ids: t.ids}
	if t.Query != "" {
		s.from = "(\n" + t.Query + "\n)"
	} else {
		s.from = t.Ref.sql()
	}
	for _, p := range []string{partition, t.Filter} {
		if p != "" {
			s.predicates = append(s.predicates, p)
		}
	}
	return s
}

// everything is what all units read.
func (t *Table) everything() source {
	if len(t.Partitions) == 0 {
		return t.source("")
	}
	parts := make([]string, len(t.Partitions))
	for i, p := range t.Partitions {
		parts[i] = "(" + p + "\n    )"
	}
	return t.source(strings.Join(parts, " OR "))
}

// part is one unit of the table: its name and its condition.
type part struct{ name, predicate string }

// parts lists the units.
func (t *Table) parts() []part {
	name := t.Ref.String()
	if t.Query != "" {
		name = "query"
	}
	if len(t.Partitions) == 0 {
		return []part{{name, ""}}
	}
	parts := make([]part, len(t.Partitions))
	for i, p := range t.Partitions {
		short := strings.Join(strings.Fields(p), " ")
		if len(short) > 100 {
			short = short[:80] + "... " + digest(p)[:12]
		}
		parts[i] = part{name + " where " + short, p}
	}
	return parts
}

// of finds the source of a unit.
func (t *Table) of(u schemas.Unit) (source, error) {
	for _, p := range t.parts() {
		if p.name == u.Name {
			return t.source(p.predicate), nil
		}
	}
	return source{}, schemas.Errorf(schemas.Failed, "the job file no longer names this part of the table").WithHint("run again to list the tables anew")
}

// run names the run that treats a unit, for ids of jobs.
func (t *Table) run(u schemas.Unit) string {
	if u.Run.ID == "" {
		return t.adhoc
	}
	return u.Run.ID
}

// name makes the name of a staging table or job of a unit: letters, digits and
// "_". It never depends on when it is made.
func (t *Table) name(u schemas.Unit, what string) string {
	settings := fmt.Sprint(t.Table, "\x00", u.Name, "\x00", t.Ref, t.Query, t.IDColumns, t.Filter, t.Write.Mode, t.Write.Column, t.Write.Dataset)
	return fmt.Sprintf("optsweep_%s_%s_%s", strings.ReplaceAll(label(t.run(u)), "-", "_"), digest(settings)[:12], what)
}

// staging is a staging table of a unit.
func (t *Table) staging(u schemas.Unit, what string) TableRef {
	return t.c.Staging.In(t.name(u, what))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// stagedMark is the description of a staging table once it is as it should be.
const stagedMark = "Made by optsweep; it expires."

// expire makes sure that an own table goes away by itself, marks it, and
// returns how many rows it has.
func (c *Client) expire(ctx context.Context, r TableRef) (rows int64, err error) {
	m, found, err := c.metadata(ctx, r)
	if err != nil || !found {
		return 0, err
	}
	if rows = int64(m.NumRows); m.Description == stagedMark && !m.ExpirationTime.IsZero() {
		return rows, nil
	}
	err = c.retry(ctx, func(ctx context.Context) error {
		_, err := c.table(r).Update(ctx, bigquery.TableMetadataToUpdate{ExpirationTime: c.Now().Add(c.Expiry), Description: stagedMark}, "")
		return err
	})
	return rows, explain(err, "let %s expire", r)
}

// suppression is the table of suppressed ids.
func (t *Table) suppression() TableRef { return t.Write.Dataset.In(SuppressionTable) }

func millis(t time.Time) int64 { return t.UnixMilli() }
