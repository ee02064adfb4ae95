package sweep

import (
	"encoding/json"
	"fmt"
	"slices"

	"optsweep/schemas"
)

// Names of the safety limits, as in the job file.
const (
	maxNewFlags    = "max_new_flags"
	maxQuarantined = "max_quarantined"
	maxRowDrop     = "max_row_drop"
	zeroHits       = "zero_hits"
	maxDuration    = "max_duration"
)

// Overridable lists the limits that a single run can be let past.
func Overridable() []string {
	return []string{maxNewFlags, maxQuarantined, maxRowDrop, zeroHits}
}

// Limits stop a run before it writes what it found. Shares are from 0 to 1;
// a negative one is no limit.
type Limits struct {
	MaxNewFlags    float64 // newly opted out, of the distinct ids
	MaxQuarantined float64 // without a valid id, of a table's non-null cells
	MaxRowDrop     float64 // fewer rows of a table than in the last run that reconciled all of it
	AllowZeroHits  bool    // no opted-out id at all although the last run had some
}

// Override lets one run past limits. The ledger says which it was let past,
// and by whom.
type Override struct {
	Limits []string // of Overridable
	User   string   // of the operating system
	Host   string
}

// exceeded is told that a figure is beyond a safety limit. It returns the error
// that stops the run, or nil if this run is let past the limit.
func (r *run) exceeded(hit schemas.LimitHit) error {
	for _, o := range r.overrides() {
		if o.LimitHit == hit {
			return nil // on record since before a crash
		}
	}
	if slices.Contains(r.job.Override.Limits, hit.Limit) {
		o := schemas.LimitOverridden{LimitHit: hit, User: r.job.Override.User, Host: r.job.Override.Host}
		r.deps.Log.Warn("going past a safety limit, as told", "limit", hit.Limit, "figure", hit.Figure, "allowed", hit.Allows)
		return r.append(schemas.EventLimitOverridden, o)
	}
	return r.stop(hit, "find out why; if it is right, the same command with --override %s goes on, once; for all runs change limits.%s in the job file", hit.Limit, hit.Limit)
}

// stop records that a safety limit was hit and returns the error for it.
func (r *run) stop(hit schemas.LimitHit, hint string, args ...any) error {
	if err := r.append(schemas.EventLimitHit, hit); err != nil {
		return err
	}
	return schemas.Errorf(schemas.Limit, "stopped by a safety limit: %s is %s, allowed is %s", hit.Limit, hit.Figure, hit.Allows).
		WithHint(hint, args...)
}

// overrides are the limits that this run was let past so far.
func (r *run) overrides() (list []schemas.LimitOverridden) {
	for _, e := range r.events() {
		var o schemas.LimitOverridden
		if e.Type == schemas.EventLimitOverridden && json.Unmarshal(e.Data, &o) == nil {
			list = append(list, o)
		}
	}
	return list
}

// rowDrops finds the tables that have far fewer rows than they had in the last
// run that reconciled all of them. A table with failures is left out: its
// missing rows may be theirs, and the run will be partial.
func (l Limits) rowDrops(tables []schemas.PlanTable, past history) (hits []schemas.LimitHit) {
	for _, t := range tables {
		before := past.Rows[t.Table]
		if l.MaxRowDrop < 0 || len(t.Failures) > 0 || float64(before-t.Rows) <= l.MaxRowDrop*float64(before) {
			continue
		}
		hits = append(hits, schemas.LimitHit{
			Limit:  maxRowDrop,
			Figure: fmt.Sprintf("%.2f%% (table %s has %d rows, it had %d)", 100*float64(before-t.Rows)/float64(before), t.Table, t.Rows, before),
			Allows: percent(l.MaxRowDrop),
		})
	}
	return hits
}

func percent(share float64) string { return fmt.Sprintf("%g%%", 100*share) }

// checkQuarantine stops a run that reads what hardly looks like ids.
func (r *run) checkQuarantine(done map[int]unitExtracted) error {
	limit := r.job.Limits.MaxQuarantined
	for _, t := range r.tableCounts(done) {
		bad, cells := t.Rows-t.Nulls-t.Valid, t.Rows-t.Nulls
		if limit < 0 || float64(bad) <= limit*float64(cells) {
			continue
		}
		if err := r.exceeded(schemas.LimitHit{
			Limit:  maxQuarantined,
			Figure: fmt.Sprintf("%.2f%% (%d of the %d ids of table %s)", 100*float64(bad)/float64(cells), bad, cells, t.Table),
			Allows: percent(limit),
		}); err != nil {
			return err
		}
	}
	return nil
}

// checkVerdicts stops a run that would flag far more people than usual, or
// that finds nobody where there was somebody.
func (r *run) checkVerdicts(c schemas.Checked) error {
	limits, past := r.job.Limits, r.past()
	if limits.MaxNewFlags >= 0 && float64(c.OptedOut) > limits.MaxNewFlags*float64(c.Distinct) {
		if err := r.exceeded(schemas.LimitHit{
			Limit:  maxNewFlags,
			Figure: fmt.Sprintf("%.2f%% (%d of %d distinct ids)", 100*float64(c.OptedOut)/float64(c.Distinct), c.OptedOut, c.Distinct),
			Allows: percent(limits.MaxNewFlags),
		}); err != nil {
			return err
		}
	}
	if !limits.AllowZeroHits && c.Known+c.OptedOut == 0 && past.Hits > 0 {
		return r.exceeded(schemas.LimitHit{
			Limit:  zeroHits,
			Figure: fmt.Sprintf("0 opted-out ids among %d", c.Distinct),
			Allows: fmt.Sprintf("at least 1: the last run found %d among %d", past.Hits, past.Distinct),
		})
	}
	return nil
}
