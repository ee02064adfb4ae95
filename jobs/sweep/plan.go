package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

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

// plan lists the units of all tables. A table that cannot be listed and a unit
// that cannot be used fail alone.
func (r *run) plan(ctx context.Context) error {
	if p, err := r.loadPlan(); err == nil {
		r.units = p.Units
		return nil
	} else if !os.IsNotExist(err) {
		return err
	}
	p := planned{Run: r.id}
	sum := schemas.Planned{Tables: len(r.job.Tables)}
	for _, t := range r.job.Tables {
		units, failures, err := t.Source.Plan(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failures = append(failures, schemas.UnitFailure{Table: t.Name, Unit: "(all)", Error: err.Error(), Hint: schemas.HintOf(err)})
		}
		for _, f := range failures {
			f.Table = t.Name
			if r.failed[unitKey{f.Table, f.Unit}] {
				continue // on record since before a crash
			}
			if err := r.fail("plan", f); err != nil {
				return err
			}
		}
		for _, u := range units {
			u.Table = t.Name
			sum.Units++
			sum.Rows += u.Rows
			sum.Bytes += u.Bytes
			p.Units = append(p.Units, u)
		}
	}
	r.units = p.Units
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := r.append(schemas.EventPlanned, sum); err != nil {
		return err
	}
	return r.deps.Workspace.disk.WriteFile(r.path(planFile), append(data, '\n'), 0o600)
}
