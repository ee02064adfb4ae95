package wire

import (
	"context"
	"errors"
	"path/filepath"

	"optsweep/connectors/bigquery"
	"optsweep/connectors/parquet"
	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// table is what every connector offers.
type table interface {
	sweep.Source
	sweep.Target
	sweep.Clearer
	// Preview works out the receipt of Apply and changes no table of the
	// customer's.
	Preview(ctx context.Context, u schemas.Unit, since func(cell []byte) (int64, bool)) (schemas.Receipt, error)
}

// The connectors fit the seams.
var (
	_ table        = (*parquet.Table)(nil)
	_ table        = (*bigquery.Table)(nil)
	_ sweep.Pinner = (*bigquery.Table)(nil)

	_ sweep.Finisher    = (*parquet.Table)(nil)
	_ sweep.PartsSource = (*parquet.Table)(nil)
	_ sweep.RowTarget   = (*parquet.Table)(nil)
)

// Prepare readies the process. It is called once, before anything runs.
func Prepare() { parquet.RegisterCodecs() }

// stores are the tables of a job, open.
type stores struct {
	names   []string
	list    []table
	clients map[place]*bigquery.Client // of tables of BigQuery
}

// place is where tables of BigQuery are staged: one client serves those of one
// place.
type place struct{ location, staging string }

// openTables makes the tables of a job. It reads nothing yet.
func openTables(ctx context.Context, s System, job *config.Job) (st stores, err error) {
	st.clients = map[place]*bigquery.Client{}
	for _, t := range job.Tables {
		var opened table
		if t.BigQuery != nil {
			opened, err = st.bigQueryTable(ctx, s, job, t)
		} else {
			opened, err = parquet.New(parquetOptions(job, t))
		}
		if err != nil {
			return st, errors.Join(err, st.close())
		}
		st.names, st.list = append(st.names, t.Name), append(st.list, opened)
	}
	return st, nil
}

func (st stores) close() (err error) {
	for _, c := range st.clients {
		err = errors.Join(err, c.Close())
	}
	return err
}

// tables are the tables for a run. A dry run's targets only compute.
func (st stores) tables(dryRun bool) []sweep.Table {
	tables := make([]sweep.Table, len(st.list))
	for i, t := range st.list {
		p, ok := t.(*parquet.Table)
		tables[i] = sweep.Table{Name: st.names[i], Source: t, Target: t, Aside: ok && p.Mode == parquet.Suppression}
		if dryRun {
			tables[i].Target = previewer{t}
		}
	}
	return tables
}

// source finds the source of a table.
func (st stores) source(name string) (sweep.Source, bool) {
	for i := range st.list {
		if st.names[i] == name {
			return st.list[i], true
		}
	}
	return nil, false
}

func parquetOptions(job *config.Job, t config.Table) parquet.Options {
	o := parquet.Options{
		Table: t.Name, Path: t.Parquet.Path, IDColumn: t.Parquet.IDColumn, IDEncoding: parquet.Encoding(t.Parquet.IDEncoding),
		Scope: job.Scope, Mode: parquet.Mode(t.Write.Mode), Column: t.Write.Column, Type: parquet.FlagType(t.Write.Type),
	}
	switch t.Write.Mode {
	case config.Suppression:
		o.List = t.Write.Path
	case config.Remove:
		o.Removed = t.Write.Path
	}
	return o
}

func (st stores) bigQueryTable(ctx context.Context, s System, job *config.Job, t config.Table) (*bigquery.Table, error) {
	at := place{t.BigQuery.Location, t.BigQuery.Staging}
	client := st.clients[at]
	if client == nil {
		var err error
		if client, err = dial(ctx, s, job, at); err != nil {
			return nil, err
		}
		st.clients[at] = client
	}
	o := bigquery.Options{
		Table: t.Name, Query: t.BigQuery.Query, IDColumns: t.BigQuery.IDColumns, Filter: t.BigQuery.Filter, Partitions: t.BigQuery.Partitions,
		Scope: job.Scope,
		Write: bigquery.Write{
			Mode: bigquery.Mode(t.Write.Mode), Column: t.Write.Column, Views: t.Write.View, Authorized: t.Write.Authorized,
			DropRemoved: t.Write.Drop, Stream: t.Write.Stream,
		},
	}
	var err error
	if t.BigQuery.Table != "" {
		if o.Ref, err = bigquery.ParseTable(t.BigQuery.Table); err != nil {
			return nil, schemas.Errorf(schemas.Usage, "table %s: %v", t.Name, err)
		}
	}
	if t.Write.Dataset != "" {
		if o.Write.Dataset, err = bigquery.ParseDataset(t.Write.Dataset); err != nil {
			return nil, schemas.Errorf(schemas.Usage, "table %s: %v", t.Name, err)
		}
	}
	return bigquery.New(client, o)
}

// dial makes the client of one place.
func dial(ctx context.Context, s System, job *config.Job, at place) (*bigquery.Client, error) {
	staging, err := bigquery.ParseDataset(at.staging)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "bigquery.staging: %v", err)
	}
	c := job.BigQuery
	return bigquery.Dial(ctx, bigquery.Connection{
		Project: c.Project, Location: at.location, Reservation: c.Reservation, MaxBytes: c.MaxBytes, JobTimeout: c.JobTimeout, Expiry: c.Expiry,
		Staging: staging, Temp: filepath.Join(job.Workspace, "tmp"), KeyFile: c.KeyFile, Impersonate: c.Impersonate,
		Endpoint: c.Endpoint, GRPCEndpoint: c.GRPCEndpoint, Insecure: c.Insecure, Job: job.Name, Log: s.Log, Now: s.Now,
	})
}

// previewer computes what would be written and writes nothing.
type previewer struct{ table }

func (p previewer) RemoveLeftovers([]schemas.Unit) error { return nil }

func (p previewer) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), _ func(schemas.Receipt) error) (schemas.Receipt, error) {
	receipt, err := p.Preview(ctx, u, since)
	receipt.VersionAfter = u.Version // it stays as it is
	return receipt, err
}
