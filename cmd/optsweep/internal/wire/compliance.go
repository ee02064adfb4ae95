package wire

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"optsweep/jobs/config"
	"optsweep/jobs/daemon"
	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/schedule"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// ComplianceOptions say what a compliance report is about.
type ComplianceOptions struct {
	Run          string    // about one run; empty: about a period, or the last run if there is none
	Since, Until time.Time // of the period
	Tables       []string
	SLO          time.Duration // zero: none
	Job          *config.Job   // whose tables should have been treated; nil: not known
}

// Compliance makes a compliance report out of the ledger of a workspace and the
// logs of fires. It changes nothing, and works while a run is under way.
func Compliance(s System, dir string, o ComplianceOptions) (schemas.Compliance, error) {
	layout := sweep.Layout(dir)
	r := report.ComplianceOptions{
		Run: o.Run, Since: o.Since, Until: o.Until, Now: s.Now().UTC().Truncate(time.Second), Tables: o.Tables, ToolVersion: Version(), SLO: o.SLO,
	}
	period := !o.Since.IsZero() || !o.Until.IsZero()
	if o.Run != "" || !period {
		last, found, end, err := findRun(dir, o.Run)
		switch {
		case err != nil:
			return schemas.Compliance{}, err
		case found:
			r.Run = last.Run
		case o.Run != "":
			return schemas.Compliance{}, sweep.NoSuchRun(o.Run, end)
		default:
			return schemas.Compliance{}, schemas.Errorf(schemas.Usage, "there was no run yet")
		}
		if o.Run != "" {
			r.End = last.FinishedAt // of a run that was named, not of now
		}
	} else if o.Job != nil {
		for _, t := range o.Job.Tables {
			r.Expected = append(r.Expected, report.TableOf{Job: o.Job.Name, Table: t.Name})
		}
	}
	if err := layout.Check(); err != nil {
		return schemas.Compliance{}, err
	}
	c := report.NewCompiler(r)
	end, err := ledger.Runs(layout.Ledger(), func(run ledger.Run) error {
		last, err := run.Position()
		if err != nil {
			return err
		}
		return c.Add(run.ID, run.Events, run.Ended, schemas.LedgerPosition(last))
	})
	if err != nil {
		return schemas.Compliance{}, err
	}
	if period {
		if err := schedules(dir, c); err != nil {
			return schemas.Compliance{}, err
		}
	}
	e := schemas.ComplianceEvidence{Begin: schemas.LedgerPosition(end.Begin()), Head: schemas.LedgerPosition(end.Head)}
	if end.Cut != nil {
		e.RemovedUntil, e.RemovedAt, e.RemovedRuns = end.Cut.Until.UTC(), end.Cut.At.UTC(), end.Cut.Runs
	}
	signer, err := Signer(dir)
	if err != nil {
		return schemas.Compliance{}, err
	}
	e.Signer = signer.Fingerprint
	return c.Finish(e)
}

// findRun finds a run, or the one that was started last.
func findRun(dir, run string) (last schemas.Report, found bool, end ledger.End, err error) {
	end, err = Reports(dir, func(r schemas.Report) error {
		if run == "" && (!found || !r.StartedAt.Before(last.StartedAt)) || r.Run == run {
			last, found = r, true
		}
		return nil
	})
	return last, found, end, err
}

// schedules adds the logs of fires of a workspace.
func schedules(dir string, c *report.Compiler) error {
	paths, err := filepath.Glob(daemon.Log(quotePattern(dir), "*"))
	if err != nil {
		return err
	}
	slices.Sort(paths)
	for _, path := range paths {
		log := schemas.ScheduleLog{Job: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))}
		var set schemas.ScheduleSet
		if _, err := ledger.Read(path, func(e schemas.Event) error {
			log.Last = e.Time
			if e.Type != schemas.EventScheduleSet {
				return nil
			}
			set = schemas.ScheduleSet{}
			return json.Unmarshal(e.Data, &set)
		}); err != nil {
			return err
		}
		log.Next = log.Last
		if spec, err := schedule.Parse(set.Cron, set.Timezone); err == nil {
			log.Next = spec.Next(log.Last)
		}
		if err := daemon.ReadLog(dir, log.Job, func(r daemon.Record) {
			log.Fires = append(log.Fires, schemas.FireOutcome{First: r.Fire, Last: r.Last, Count: r.Count, Status: r.Status, Reason: r.Reason, Run: r.Run})
		}); err != nil {
			return err
		}
		c.Schedule(log)
	}
	return nil
}
