package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"optsweep/schemas"
)

// plan.json: the units that the run treats, with the versions they had.
type planned struct {
	Run   string         `json:"run"`
	Units []schemas.Unit `json:"units"`
}

func (r *run) loadPlan() (planned, error) {
	var p planned
	data, err := os.ReadFile(r.path(planFile))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%s: %w", r.path(planFile), err)
	}
	return p, nil
}

// plan settles the units that the run treats. A table that cannot be listed
// and a unit that cannot be used fail alone.
func (r *run) plan(ctx context.Context) error {
	if p, err := r.loadPlan(); err == nil {
		r.units = p.Units
		return nil
	} else if !os.IsNotExist(err) {
		return err
	}
	tables, err := r.job.tables(ctx)
	if err != nil {
		return err
	}
	p := planned{Run: r.id}
	sum := schemas.Planned{Tables: len(tables)}
	for _, t := range tables {
		for _, f := range t.Failures {
			if r.failed[unitKey{f.Table, f.Unit}] {
				continue // on record since before a crash
			}
			if err := r.fail("plan", f); err != nil {
				return err
			}
		}
		sum.Units += len(t.Units)
		sum.Rows += t.Rows
		sum.Bytes += t.Bytes
		for _, u := range t.Units {
			u.Run = refOf(r.id)
			p.Units = append(p.Units, u)
		}
	}
	for _, hit := range r.job.Limits.rowDrops(tables, r.past()) {
		if err := r.exceeded(hit); err != nil {
			return err
		}
	}
	r.units = p.Units
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	sum.Digest = digestOfBytes(data)
	if err := r.append(schemas.EventPlanned, sum); err != nil {
		return err
	}
	return r.deps.Workspace.disk.WriteFile(r.path(planFile), data, 0o600)
}

// tables gives the units of all tables: those of the plan that the job keeps
// to, or else as they are now.
func (j Job) tables(ctx context.Context) ([]schemas.PlanTable, error) {
	if j.Plan != nil {
		return j.Plan.Tables, nil
	}
	return list(ctx, j.Tables)
}

// allUnits is in the place of a unit where a table could not be listed.
const allUnits = "(all)"

// list lists the units of tables.
func list(ctx context.Context, tables []Table) ([]schemas.PlanTable, error) {
	listed := make([]schemas.PlanTable, len(tables))
	for i, t := range tables {
		p := schemas.PlanTable{Table: t.Name, Units: []schemas.Unit{}, Failures: []schemas.UnitFailure{}}
		units, failures, err := t.Source.Plan(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			failures = append(failures, schemas.UnitFailure{Unit: allUnits, Error: err.Error(), Hint: schemas.HintOf(err)})
		}
		for _, f := range failures {
			f.Table = t.Name
			p.Failures = append(p.Failures, f)
		}
		for _, u := range units {
			u.Table = t.Name
			p.Rows += u.Rows
			p.Bytes += u.Bytes
			p.Units = append(p.Units, u)
		}
		listed[i] = p
	}
	return listed, nil
}

// refOf names a run by its id, which is made of its start.
func refOf(id string) schemas.RunRef {
	ref := schemas.RunRef{ID: id}
	if started, err := time.Parse(runIDLayout, id); err == nil {
		ref.StartedMS = started.UnixMilli()
	}
	return ref
}
