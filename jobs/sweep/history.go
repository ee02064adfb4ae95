package sweep

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"optsweep/schemas"
)

// keep keeps what later runs need to know of the run that has just finished.
func (w *Workspace) keep() error {
	var v schemas.RunStarted
	if err := json.Unmarshal(w.last[0].Data, &v); err != nil || v.DryRun {
		return err
	}
	next, err := w.past[v.Job].after(w.last)
	if err != nil {
		return err
	}
	if w.past == nil {
		w.past = map[string]history{}
	}
	w.past[v.Job] = next
	return nil
}

// history is what is known of the finished runs of a job, dry ones left out.
type history struct {
	schemas.JobPast
	applied []schemas.Event // the last run's receipts
	wrote   string          // digest of its job file: what it wrote, and where
	first   int64           // number of its first event
	asks
}

// after is the history with one more finished run.
func (h history) after(events []schemas.Event) (history, error) {
	var (
		checked schemas.Checked
		ended   schemas.RunEnded
		resumed bool
		offline bool
		config  string
		rows    = map[string]int64{}
		broken  = map[string]bool{} // tables
		failed  []schemas.UnitFailed
		applied []schemas.Event
		gone    removed
	)
	for _, e := range events {
		var err error
		switch e.Type {
		case schemas.EventRunStarted:
			var v schemas.RunStarted
			err = json.Unmarshal(e.Data, &v)
			offline, config = v.Offline, v.ConfigDigest
		case schemas.EventRunResumed:
			resumed = true
		case schemas.EventTableExtracted:
			var v schemas.TableExtracted
			err = json.Unmarshal(e.Data, &v)
			rows[v.Table] = v.Rows
		case schemas.EventUnitFailed:
			var v schemas.UnitFailed
			err = json.Unmarshal(e.Data, &v)
			broken[v.Table] = true
			failed = append(failed, v)
		case schemas.EventChecked:
			err = json.Unmarshal(e.Data, &checked)
		case schemas.EventTableApplied:
			applied = append(applied, e)
			err = gone.add(e)
		case schemas.EventTableReapplied:
			err = gone.add(e)
		case schemas.EventRunFinished:
			err = json.Unmarshal(e.Data, &ended)
		}
		if err != nil {
			return h, err
		}
	}
	switch ended.Status {
	case schemas.StatusReconciled, schemas.StatusPartial, schemas.StatusReapplied:
	default:
		return h, nil
	}
	h.applied, h.wrote, h.first, h.Rows = applied, config, events[0].Seq, maps.Clone(h.Rows)
	if h.Rows == nil {
		h.Rows = map[string]int64{}
	}
	read := int64(0)
	for table, n := range rows {
		read += n
		if !broken[table] {
			h.Rows[table] = n - gone.rows[table]
		}
	}
	h.Flagged = h.flagged(events, rows, failed)
	if offline {
		h.later = append(slices.Clip(h.later), applied...)
		return h, nil
	}
	h.asks = asks{asker: events[0].Run, config: config, left: applied}
	h.Checked = maps.Clone(h.Checked)
	if h.Checked == nil {
		h.Checked = map[string]int64{}
	}
	for table := range rows {
		if !broken[table] {
			h.Checked[table] = events[0].Time.UnixMilli()
			if checked.OldestMS > 0 { // 0: all were known
				h.Checked[table] = min(h.Checked[table], checked.OldestMS)
			}
		}
	}
	h.Hits, h.Distinct, h.Read = checked.Known+checked.OptedOut, checked.Distinct, read
	if none, err := gone.all(applied); err != nil {
		return h, err
	} else if none {
		h.Hits = 0
	}
	if !resumed && checked.Batches > 0 {
		h.BatchSeconds = checked.Seconds / float64(checked.Batches)
	}
	return h, nil
}

// removed counts the rows that a run has taken out of tables.
type removed struct {
	rows map[string]int64 // by table
	sum  int64
}

// add takes an event with receipts. They are read only if a row was removed: an
// old ledger holds many.
func (g *removed) add(e schemas.Event) error {
	if !bytes.Contains(e.Data, []byte(`"rows_removed"`)) {
		return nil
	}
	var v schemas.TableApplied
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return err
	}
	if g.rows == nil {
		g.rows = map[string]int64{}
	}
	for _, r := range v.Receipts {
		g.rows[v.Table] += r.Removed
		g.sum += r.Removed
	}
	return nil
}

// all tells whether rows were removed and no opted-out row was left.
func (g *removed) all(applied []schemas.Event) (bool, error) {
	if g.sum == 0 {
		return false, nil
	}
	left := -g.sum
	for _, e := range applied {
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return false, err
		}
		for _, r := range v.Receipts {
			left += r.Flagged
		}
	}
	return left == 0, nil
}

// left gives the receipts with which the last finished run left the units; none
// if its job file was another one, which may have named another column. It
// reads the receipts only now: an old ledger holds those of many runs.
func (h history) left(config string) (map[unitKey]schemas.Receipt, error) {
	receipts := map[unitKey]schemas.Receipt{}
	if config != h.wrote {
		return receipts, nil
	}
	for _, e := range h.applied {
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return nil, err
		}
		for _, r := range v.Receipts {
			receipts[unitKey{r.Table, r.Unit}] = r
		}
	}
	return receipts, nil
}

// past is the history of the run's job.
func (r *run) past() history { return r.deps.Workspace.past[r.job.Started.Job] }

// readHistory reads the ledger of the workspace in dir without a lease and
// without changing anything.
func readHistory(dir, job string) (history, error) {
	w, err := Layout(dir).read()
	if err != nil {
		return history{}, err
	}
	return w.past[job], nil
}

// lostLedger says what to do about a ledger that is not there.
func lostLedger(dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return schemas.Errorf(schemas.Failed, "the workspace %s has lost its ledger", dir).
		WithHint("restore %s from a copy; it is the proof of every run and is never made anew", ledgerFile)
}

// flagged says which run last wrote the flags of which table, with one more
// finished run that read tables and could not treat some units.
func (h history) flagged(run []schemas.Event, read map[string]int64, failed []schemas.UnitFailed) map[string]schemas.FlaggedTable {
	flagged := maps.Clone(h.Flagged)
	if flagged == nil {
		flagged = map[string]schemas.FlaggedTable{}
	}
	first, last := run[0], run[len(run)-1]
	for table := range read {
		flagged[table] = schemas.FlaggedTable{
			FlaggedRun: schemas.FlaggedRun{Run: first.Run, StartedMS: first.Time.UnixMilli(), EndedMS: last.Time.UnixMilli()},
		}
	}
	for _, f := range failed {
		t, ok := flagged[f.Table]
		switch {
		case !ok || t.Run != first.Run:
		case f.Unit == allUnits:
			if flagged[f.Table], ok = h.Flagged[f.Table]; !ok {
				delete(flagged, f.Table)
			}
		default:
			if t.Left == nil {
				t.Left = map[string]schemas.FlaggedRun{}
			}
			t.Left[f.Unit] = h.Flagged[f.Table].Of(f.Unit)
			flagged[f.Table] = t
		}
	}
	return flagged
}
