package wire

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"

	"optsweep/connectors/bigquery"
	"optsweep/connectors/runfiles"
	"optsweep/jobs/config"
	"optsweep/jobs/ledger"
	"optsweep/jobs/runtables"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Published says how many runs were put where.
type Published struct {
	Runs    int    `json:"published_runs"`
	Dataset string `json:"dataset,omitempty"` // of BigQuery
	Folder  string `json:"folder,omitempty"`  // of Parquet files
}

// Publish puts the runs of a job that have ended into its run tables, but for
// those that are there. With a folder it writes them there, as Parquet files,
// and nowhere else.
func Publish(ctx context.Context, s System, job *config.Job, folder string) (done []Published, err error) {
	there := *job
	if folder != "" {
		if there.RunTables.Parquet, err = filepath.Abs(folder); err != nil {
			return nil, err
		}
		if problem := job.RunTablesIn(there.RunTables.Parquet); problem != "" {
			return nil, schemas.Errorf(schemas.Usage, "%s %s", there.RunTables.Parquet, problem).WithHint("name another folder with --out")
		}
		there.BigQuery.Runs = ""
	}
	if there.RunTables.Parquet == "" && there.BigQuery.Runs == "" {
		return nil, schemas.Errorf(schemas.Usage, "the job file names no place for run tables").
			WithHint("name a folder for Parquet files with --out DIR, or set run_tables: {parquet: DIR}, or bigquery.runs: project.dataset")
	}
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, s.owner(job))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return publishRuns(ctx, s, &there)
}

// publishRuns is Publish for who holds the lease of the workspace, to where the
// job file says. Without a place for run tables it does nothing.
func publishRuns(ctx context.Context, s System, job *config.Job) (done []Published, err error) {
	if dir := job.RunTables.Parquet; dir != "" {
		n, folderErr := publishTo(ctx, s, job, dir, runfiles.Folder{Dir: dir})
		done, err = append(done, Published{Runs: n, Folder: dir}), folderErr
	}
	if job.BigQuery.Runs == "" || ctx.Err() != nil {
		return done, err
	}
	n, datasetErr := publishToBigQuery(ctx, s, job)
	return append(done, Published{Runs: n, Dataset: job.BigQuery.Runs}), errors.Join(err, datasetErr)
}

func publishToBigQuery(ctx context.Context, s System, job *config.Job) (runs int, err error) {
	dataset, err := bigquery.ParseDataset(job.BigQuery.Runs)
	if err != nil {
		return 0, schemas.Errorf(schemas.Usage, "bigquery.runs: %v", err)
	}
	client, err := dial(ctx, s, job, place{job.BigQuery.Location, job.BigQuery.Staging})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return publishTo(ctx, s, job, dataset.String(), inDataset{client, dataset})
}

// runTables is where run tables are kept.
type runTables interface {
	// Published lists the runs of a job that are there, each with the number of
	// the ledger event up to which it is told.
	Published(ctx context.Context, job string) (map[string]int64, error)
	// PublishRun puts the rows of a run there, in place of those from before.
	PublishRun(ctx context.Context, job string, run schemas.RunRef, rows runRows) error
}

type runRows = func(t schemas.RunTable, each func(row []any) error) error

var _ runTables = runfiles.Folder{}

// inDataset are the run tables of a dataset of BigQuery.
type inDataset struct {
	client  *bigquery.Client
	dataset bigquery.TableRef
}

func (d inDataset) Published(ctx context.Context, job string) (map[string]int64, error) {
	return d.client.Published(ctx, d.dataset, job)
}

func (d inDataset) PublishRun(ctx context.Context, job string, run schemas.RunRef, rows runRows) error {
	return d.client.PublishRun(ctx, d.dataset, job, run, rows)
}

// publishTo puts the runs that have ended into run tables, which are at where.
func publishTo(ctx context.Context, s System, job *config.Job, where string, tables runTables) (runs int, err error) {
	there, err := tables.Published(ctx, job.Name)
	if err != nil {
		return 0, err
	}
	layout := sweep.Layout(job.Workspace)
	_, err = ledger.Runs(layout.Ledger(), func(r ledger.Run) error {
		name, err := jobOf(r)
		if err != nil || name != job.Name || !r.Ended || there[r.ID] == r.Last() {
			return err
		}
		err = tables.PublishRun(ctx, job.Name, schemas.RunRef{ID: r.ID, StartedMS: r.Events[0].Time.UnixMilli()}, func(t schemas.RunTable, each func([]any) error) error {
			notes, err := runtables.Rows(ctx, layout, r, t, each)
			for _, note := range notes {
				s.Log.Info("a run table lacks rows", "run", r.ID, "run_table", t.Name, "reason", note)
			}
			return err
		})
		if err == nil {
			runs++
			s.Log.Info("published a run", "run", r.ID, "into", where)
		}
		return err
	})
	return runs, err
}

// jobOf is the job of a run.
func jobOf(r ledger.Run) (string, error) {
	var started schemas.RunStarted
	err := json.Unmarshal(r.Events[0].Data, &started)
	return started.Job, err
}

// publishAfter publishes a run that has just ended. The run is what it is even
// if that fails; the error says so.
func publishAfter(ctx context.Context, s System, job *config.Job, rep schemas.Report) error {
	if rep.Run == "" || ctx.Err() != nil || rep.Status == schemas.StatusInterrupted || rep.Status == schemas.StatusStopped {
		return nil
	}
	_, err := publishRuns(ctx, s, job)
	if err == nil {
		return nil
	}
	return schemas.Errorf(schemas.Failed, "run %s is %s, but the run tables could not be written: %w", rep.Run, rep.Status, err).
		WithHint("mend it and then: optsweep publish; the next run does the same")
}
