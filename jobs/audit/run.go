package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// keepIDs is how long a workspace keeps the ids of a run without being told.
const keepIDs = 30 * 24 * time.Hour

func decode[T any](e schemas.Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
	}
	return v, nil
}

// facts is what the ledger says of a run, as far as files are compared with it.
type facts struct {
	ledger.Run
	started   time.Time
	finished  bool // to its end, and not given up
	dryRun    bool
	planned   *schemas.Planned
	tables    []schemas.TableExtracted
	extracted *schemas.Extracted
	checked   *schemas.Checked
	preview   *schemas.SuppressionUpdated
	reapplied []schemas.Receipt // of flags known before the run
	receipts  []schemas.Receipt
}

func factsOf(r ledger.Run) (f facts, err error) {
	f.Run = r
	for _, e := range r.Events {
		switch e.Type {
		case schemas.EventRunStarted:
			var v schemas.RunStarted
			v, err = decode[schemas.RunStarted](e)
			f.started, f.dryRun = e.Time, v.DryRun
		case schemas.EventPlanned:
			f.planned, err = pointer(decode[schemas.Planned](e))
		case schemas.EventTableExtracted:
			var v schemas.TableExtracted
			v, err = decode[schemas.TableExtracted](e)
			f.tables = append(f.tables, v)
		case schemas.EventExtracted:
			f.extracted, err = pointer(decode[schemas.Extracted](e))
		case schemas.EventChecked:
			f.checked, err = pointer(decode[schemas.Checked](e))
		case schemas.EventSuppressionUpdated:
			var v schemas.SuppressionUpdated
			v, err = decode[schemas.SuppressionUpdated](e)
			if v.Preview {
				f.preview = &v
			}
		case schemas.EventTableApplied:
			var v schemas.TableApplied
			v, err = decode[schemas.TableApplied](e)
			f.receipts = append(f.receipts, v.Receipts...)
		case schemas.EventTableReapplied:
			var v schemas.TableApplied
			v, err = decode[schemas.TableApplied](e)
			f.reapplied = append(f.reapplied, v.Receipts...)
		case schemas.EventRunFinished:
			f.finished = true
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func pointer[T any](v T, err error) (*T, error) { return &v, err }

// applied tells whether the run got so far that the ledger holds the receipts
// of all units.
func (f facts) applied() bool { return f.finished && f.extracted != nil }

// run verifies one run.
func (a *auditor) run(r ledger.Run) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	a.Runs++
	f, err := factsOf(r)
	if err != nil {
		a.fail("ledger", r.ID, a.layout.Ledger(), "%v", err)
		return nil
	}
	rep, err := report.Build(r.ID, r.Events)
	if err != nil {
		a.fail("ledger", r.ID, a.layout.Ledger(), "%v", err)
		return nil
	}
	a.Checks.Laws(rep, a.rel(a.layout.Ledger()))
	dir := a.layout.Run(r.ID)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && a.purgedFolder(f) {
		a.gone("folder", r.ID, dir)
		return nil
	} else if err != nil {
		a.fail("folder", r.ID, dir, "%s", explain(dir, err))
		return nil
	}
	a.report(f, rep)
	a.checkJournal(f)
	a.shards(f)
	units := a.plan(f)
	a.extractJournal(f, units)
	a.receipts(f, sweep.ReapplyJournal, f.reapplied, f.checked != nil)
	a.receipts(f, sweep.ApplyJournal, f.receipts, f.applied())
	if f.preview != nil {
		a.previewed(f)
	}
	if f.applied() && !f.dryRun {
		a.units = newApplied(r.ID, units, f.receipts)
	}
	return nil
}

// Laws checks that the figures of a report add up.
func (c *Checks) Laws(rep schemas.Report, file string) {
	broken := 0
	for _, l := range rep.Laws {
		if !l.OK {
			broken++
			c.Add(Failed, "laws", rep.Run, file, "%s %s: %s", l.Table, l.Name, l.Detail)
		}
	}
	if broken == 0 {
		c.Add(OK, "laws", rep.Run, file, "all %d equations of its figures hold", len(rep.Laws))
	}
}

// report compares report.json, and the head that was recorded beside it, with
// the ledger.
func (a *auditor) report(f facts, rep schemas.Report) {
	path := a.layout.Run(f.ID, sweep.ReportFile)
	if !f.finished {
		a.earlierReport(f, path)
		return
	}
	headPath := a.layout.Run(f.ID, ledger.HeadFile)
	_, headErr := os.Stat(headPath)
	a.last = a.byRun[f.ID]
	stored, err := os.ReadFile(path)
	if err == nil {
		err = report.Compare(stored, rep, rep.ToolVersion == a.opts.ToolVersion)
	}
	if f.Last() > a.sealed.Seq && (err != nil || headErr != nil) {
		a.note("report", f.ID, path, "not written yet: the run ended just now, or was killed right after its end; the next run writes it")
		return
	}
	if err != nil {
		a.fail("report", f.ID, path, "%s", explain(path, err))
	} else {
		a.ok("report", f.ID, path, "it is what the ledger gives")
	}
	switch {
	case headErr != nil:
		a.fail("ledger head", f.ID, headPath, "%s", explain(headPath, headErr))
	case a.last.Seq > 0 && a.last.Seq < f.Last():
		a.fail("ledger head", f.ID, headPath, "it is from before the end of the run: event %d", a.last.Seq)
	}
}

// earlierReport judges the report of a run that has not ended, or was given
// up: if there is one, it is from one of its interruptions.
func (a *auditor) earlierReport(f facts, path string) {
	stored := a.newest
	if f.Ended || len(a.folders) == 0 || a.folders[len(a.folders)-1].run != f.ID {
		var err error
		if stored, err = os.ReadFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.fail("report", f.ID, path, "%s", explain(path, err))
			return
		}
	}
	if stored == nil {
		a.ok("report", f.ID, path, "the run was not finished, there is none")
		return
	}
	for i, e := range f.Events {
		if e.Type != schemas.EventRunInterrupted {
			continue
		}
		rep, err := report.Build(f.ID, f.Events[:i+1])
		if err == nil && report.Compare(stored, rep, rep.ToolVersion == a.opts.ToolVersion) == nil {
			a.ok("report", f.ID, path, "it is what the ledger gives for the interruption at event %d", e.Seq)
			return
		}
	}
	if info, err := os.Stat(a.layout.Ledger()); err == nil && !f.Ended && info.Size() > a.size {
		a.note("report", f.ID, path, "the run has gone on meanwhile; verify again")
		return
	}
	a.fail("report", f.ID, path, "the run was not finished, and it fits none of its interruptions")
}

// previewed checks the list that a dry run would have left.
func (a *auditor) previewed(f facts) {
	path := a.path(f.preview.File)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && a.expired(f) {
		a.gone("previewed list", f.ID, path)
		return
	}
	a.listFile("previewed list", f.ID, *f.preview)
}
