package sweep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"time"

	"optsweep/schemas"
)

// Pace is what an operator of some kind takes.
type Pace struct {
	BatchIDs     int     // ids in one batch
	BatchSeconds float64 // per batch; assumed as long as none was measured
	USDPerTiB    float64 // price of bytes that are billed; 0: nothing is
}

// MakePlan lists what a run of job would treat and estimates how much work
// that is. It reads the ledger of the workspace in dir, takes no lease, and
// writes nothing.
func MakePlan(ctx context.Context, job Job, dir string, pace Pace, now time.Time) (schemas.Plan, error) {
	started := job.Started
	past, err := readHistory(dir, started.Job)
	if err != nil {
		return schemas.Plan{}, err
	}
	tables, err := list(ctx, job.Tables)
	if err != nil {
		return schemas.Plan{}, err
	}
	work, err := estimate(tables, aside(job.Tables), past, started.ConfigDigest, pace)
	if err != nil {
		return schemas.Plan{}, err
	}
	return schemas.Plan{
		Schema: schemas.PlanSchema, MadeAt: now.UTC().Truncate(time.Millisecond),
		Job: started.Job, ConfigDigest: started.ConfigDigest, ToolVersion: started.ToolVersion,
		Scope: started.Scope, Environment: started.Environment, OperatorKind: started.Operator.Kind,
		Tables: tables, Estimate: work,
		Limits: append([]schemas.LimitHit{}, job.Limits.rowDrops(tables, past)...),
	}, nil
}

// aside names the tables into whose units nothing is written.
func aside(tables []Table) map[string]bool {
	names := map[string]bool{}
	for _, t := range tables {
		names[t.Name] = t.Aside
	}
	return names
}

// estimate says how much work tables are, judged by the last finished run.
func estimate(tables []schemas.PlanTable, aside map[string]bool, past history, config string, pace Pace) (schemas.PlanEstimate, error) {
	left, err := past.left(config)
	e := schemas.PlanEstimate{
		DistinctBasis: schemas.BasisRows, BatchIDs: pace.BatchIDs,
		BatchSeconds: pace.BatchSeconds, BatchBasis: schemas.BasisAssumed,
	}
	for _, t := range tables {
		e.Rows += t.Rows
		e.Bytes += t.Bytes
		if !aside[t.Table] {
			e.BytesMax += t.Bytes
		}
		for _, u := range t.Units {
			e.ScanBytes += u.ScanBytes
			e.WriteBytesMax += u.WriteBytesMax
			if left[keyOf(u)].VersionAfter != u.Version {
				e.UnitsChanged++
				if !aside[t.Table] {
					e.BytesChanged += u.Bytes
				}
			}
		}
	}
	e.DistinctIDs = e.Rows
	if past.Read > 0 {
		e.DistinctBasis = schemas.BasisLastRun
		e.DistinctIDs = min(e.Rows, int64(math.Ceil(float64(e.Rows)*float64(past.Distinct)/float64(past.Read))))
		e.KnownIDs = min(past.Hits, e.DistinctIDs)
	}
	if past.BatchSeconds > 0 {
		e.BatchBasis, e.BatchSeconds = schemas.BasisLastRun, past.BatchSeconds
	}
	if pace.USDPerTiB > 0 {
		e.ScanUSD = float64(e.ScanBytes) / (1 << 40) * pace.USDPerTiB
		e.WriteUSDMax = float64(e.WriteBytesMax) / (1 << 40) * pace.USDPerTiB
	}
	size := int64(pace.BatchIDs)
	e.Batches = (e.DistinctIDs - e.KnownIDs + size - 1) / size
	e.CheckSeconds = float64(e.Batches) * e.BatchSeconds
	return e, err
}

// ReadPlan reads a plan file. The digest names its content.
func ReadPlan(path string) (plan *schemas.Plan, digest string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", schemas.Errorf(schemas.Usage, "plan: %w", err).WithHint("make one with: optsweep plan --out %s", path)
	}
	plan = new(schemas.Plan)
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(plan); err != nil || d.More() || plan.Schema != schemas.PlanSchema {
		return nil, "", schemas.Errorf(schemas.Usage, "%s is not a plan of the kind %s", path, schemas.PlanSchema).
			WithHint("make one with: optsweep plan")
	}
	sum := sha256.Sum256(data)
	return plan, hex.EncodeToString(sum[:]), nil
}

// keepsToPlan fails with class Usage if anything has changed since the plan
// that the job keeps to was made.
func (j Job) keepsToPlan(ctx context.Context) error {
	if j.Plan == nil {
		return nil
	}
	changes := j.changedSettings()
	if len(changes) == 0 {
		now, err := list(ctx, j.Tables)
		if err != nil {
			return err
		}
		changes = changedUnits(j.Plan.Tables, now)
		if len(changes) == 0 && !reflect.DeepEqual(j.Plan.Tables, now) {
			changes = []string{"its figures are not those of the tables"}
		}
	}
	if len(changes) == 0 {
		return nil
	}
	const named = 3
	text := strings.Join(changes[:min(named, len(changes))], "; ")
	if more := len(changes) - named; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return schemas.Errorf(schemas.Usage, "the plan is out of date: %s", text).
		WithHint("make a new plan and look at it again: optsweep plan")
}

func (j Job) changedSettings() (changes []string) {
	for _, x := range []struct{ what, then, now string }{
		{"it is for job", j.Plan.Job, j.Started.Job},
		{"the job file has changed: its digest was", j.Plan.ConfigDigest, j.Started.ConfigDigest},
		{"it was made by optsweep", j.Plan.ToolVersion, j.Started.ToolVersion},
	} {
		if x.then != x.now {
			changes = append(changes, fmt.Sprintf("%s %s, now %s", x.what, x.then, x.now))
		}
	}
	return changes
}

// changedUnits names what differs between two lists of the tables.
func changedUnits(then, now []schemas.PlanTable) (changes []string) {
	const failing = "(failed)" // no version looks like it
	before := map[unitKey]schemas.Unit{}
	for _, t := range then {
		for _, u := range t.Units {
			before[keyOf(u)] = u
		}
		for _, f := range t.Failures {
			before[unitKey{f.Table, f.Unit}] = schemas.Unit{Version: failing}
		}
	}
	differs := func(key unitKey, is schemas.Unit) {
		was, planned := before[key]
		delete(before, key)
		switch {
		case was == is:
		case is.Version == failing:
			changes = append(changes, fmt.Sprintf("%s, %s cannot be treated", key.table, key.unit))
		case !planned:
			changes = append(changes, fmt.Sprintf("%s, %s is new", key.table, key.unit))
		default:
			changes = append(changes, fmt.Sprintf("%s, %s has changed", key.table, key.unit))
		}
	}
	for _, t := range now {
		for _, u := range t.Units {
			differs(keyOf(u), u)
		}
		for _, f := range t.Failures {
			differs(unitKey{f.Table, f.Unit}, schemas.Unit{Version: failing})
		}
	}
	for _, t := range then {
		for _, u := range t.Units {
			if _, ok := before[keyOf(u)]; ok {
				changes = append(changes, fmt.Sprintf("%s, %s is gone", u.Table, u.Name))
			}
		}
		for _, f := range t.Failures {
			if _, ok := before[unitKey{f.Table, f.Unit}]; ok {
				changes = append(changes, fmt.Sprintf("%s, %s is gone", f.Table, f.Unit))
			}
		}
	}
	return changes
}
