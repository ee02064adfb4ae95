package wire

import (
	"context"
	"encoding/json"
	"errors"

	"optsweep/connectors/bigquery"
	"optsweep/jobs/config"
	"optsweep/jobs/ledger"
	"optsweep/jobs/runtables"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Publish puts the runs of a job that have ended into its run tables, but for
// those that are there, and tells how many it has put there.
func Publish(ctx context.Context, s System, job *config.Job) (runs int, err error) {
	if job.BigQuery.Runs == "" {
		return 0, schemas.Errorf(schemas.Usage, "the job file names no dataset for run tables").WithHint("set bigquery.runs: project.dataset")
	}
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, s.owner(job))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return publishRuns(ctx, s, job)
}

// publishRuns is Publish for who holds the lease of the workspace. Without a
// dataset for run tables it does nothing.
func publishRuns(ctx context.Context, s System, job *config.Job) (runs int, err error) {
	if job.BigQuery.Runs == "" {
		return 0, nil
	}
	dataset, err := bigquery.ParseDataset(job.BigQuery.Runs)
	if err != nil {
		return 0, schemas.Errorf(schemas.Usage, "bigquery.runs: %v", err)
	}
	layout := sweep.Layout(job.Workspace)
	client, err := dial(ctx, s, job, place{job.BigQuery.Location, job.BigQuery.Staging})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	there, err := client.Published(ctx, dataset, job.Name)
	if err != nil {
		return 0, err
	}
	_, err = ledger.Runs(layout.Ledger(), func(r ledger.Run) error {
		name, err := jobOf(r)
		if err != nil || name != job.Name || !r.Ended || there[r.ID] == r.Last() {
			return err
		}
		runs++
		return publish(ctx, s, client, dataset, layout, job.Name, r)
	})
	return runs, err
}

func publish(ctx context.Context, s System, client *bigquery.Client, dataset bigquery.TableRef, layout sweep.Layout, job string, r ledger.Run) error {
	err := client.PublishRun(ctx, dataset, job, schemas.RunRef{ID: r.ID, StartedMS: r.Events[0].Time.UnixMilli()}, func(t schemas.RunTable, each func([]any) error) error {
		notes, err := runtables.Rows(ctx, layout, r, t, each)
		for _, note := range notes {
			s.Log.Info("a run table lacks rows", "run", r.ID, "run_table", t.Name, "reason", note)
		}
		return err
	})
	if err == nil {
		s.Log.Info("published a run", "run", r.ID, "dataset", dataset.String())
	}
	return err
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
