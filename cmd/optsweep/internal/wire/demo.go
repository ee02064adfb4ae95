package wire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"optsweep/cmd/optsweep/internal/demo"
	"optsweep/connectors/optoutlog"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// demoJob is the job file of the demo: an ordinary one.
const demoJob = `# Made by optsweep demo. Try also: optsweep validate, optsweep run --dry-run
version: 1
job: demo
scope: euid
environment: production
operator:
  kind: embedded
  optout_log: optout
workspace: workspace
tables:
  - name: crm
    parquet: {path: "data/*.parquet", id_column: euid}
    write: {mode: column, column: opted_out_since}
`

// DemoSet is a generated data set with its job.
type DemoSet struct {
	JobFile string
	Job     *config.Job
	Truth   *demo.Truth
}

// MakeDemo writes Parquet files, an opt-out log, a job file and a workspace
// into dir, which must be empty or missing.
func MakeDemo(ctx context.Context, s System, dir string, rows int64) (DemoSet, error) {
	set := DemoSet{JobFile: filepath.Join(dir, "optsweep.yaml")}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return set, schemas.Errorf(schemas.Usage, "%s is not empty", dir).WithHint("name a new folder with --dir")
	}
	log := filepath.Join(dir, "optout")
	if err := os.MkdirAll(log, 0o755); err != nil {
		return set, err
	}
	var err error
	set.Truth, err = demo.Generate(ctx, demo.Options{
		Dir: filepath.Join(dir, "data"), Rows: rows, Seed: 1, Scope: schemas.EUID, Environment: schemas.Production, Now: s.Now(),
	})
	if err != nil {
		return set, err
	}
	entries := make([]optoutlog.Entry, len(set.Truth.OptOuts))
	for i, o := range set.Truth.OptOuts {
		entries[i] = optoutlog.NewEntry(o.ID, o.SinceMS/1000)
	}
	start := s.Now().Truncate(5 * time.Minute)
	if _, err := optoutlog.Write(optoutlog.WriterOptions{Dir: log, Start: start, End: start.Add(5 * time.Minute)}, entries); err != nil {
		return set, err
	}
	if err := os.WriteFile(set.JobFile, []byte(demoJob), 0o644); err != nil {
		return set, err
	}
	if set.Job, err = config.Load(set.JobFile); err != nil {
		return set, err
	}
	return set, CreateWorkspace(s, set.Job)
}

// Verify compares a report with what is known about the generated data.
func (d DemoSet) Verify(rep schemas.Report) error {
	if len(rep.Tables) != 1 {
		return fmt.Errorf("the report has %d tables", len(rep.Tables))
	}
	t := rep.Tables[0]
	for _, x := range []struct {
		what      string
		got, want int64
	}{
		{"rows", t.Rows, d.Truth.Rows},
		{"rows without an id", t.Nulls, d.Truth.Nulls},
		{"valid ids", t.Valid, d.Truth.Valid},
		{"distinct ids", rep.IDs.Distinct, d.Truth.Distinct},
		{"distinct ids opted out", rep.IDs.Known + rep.IDs.OptedOut, d.Truth.DistinctOptedOut},
		{"rows flagged", t.RowsFlagged, d.Truth.OptedOut},
	} {
		if x.got != x.want {
			return fmt.Errorf("%s: the run counts %d, generated were %d", x.what, x.got, x.want)
		}
	}
	for reason, n := range d.Truth.Malformed {
		if t.Malformed[reason] != n {
			return fmt.Errorf("ids that are %s: the run counts %d, generated were %d", reason, t.Malformed[reason], n)
		}
	}
	return nil
}
