package wire

import (
	"context"

	"optsweep/jobs/config"
	"optsweep/schemas"
)

// Verdict is what is known of one line of input.
type Verdict struct {
	Verdict string         `json:"verdict"` // OptedOut, Clear or Unverifiable
	SinceMS int64          `json:"opted_out_since_ms,omitempty"`
	AsOfMS  int64          `json:"as_of_ms,omitempty"`
	Reason  schemas.Reason `json:"reason,omitempty"`
}

// The three verdicts.
const (
	OptedOut     = "opted_out"
	Clear        = "clear"
	Unverifiable = "unverifiable"
)

// Check asks the job's operator about cells, canaries first, and gives one
// verdict for each. It writes nothing.
func Check(ctx context.Context, s System, job *config.Job, cells [][]byte) ([]Verdict, error) {
	asked, err := newAsked(ctx, s, job)
	if err != nil {
		return nil, err
	}
	defer asked.close()
	release, err := leaseKey(s, job, asked)
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
	if asked.canaries != nil {
		if _, err := asked.canaries(ctx); err != nil {
			return nil, err
		}
	}

	verdicts := make([]Verdict, len(cells))
	lines := map[schemas.ID][]int{}
	var ids []schemas.ID
	for i, cell := range cells {
		id, _, reason := job.Rules().Parse(cell)
		if reason != schemas.Valid {
			verdicts[i] = Verdict{Verdict: Unverifiable, Reason: reason}
			continue
		}
		if lines[id] == nil {
			ids = append(ids, id)
		}
		lines[id] = append(lines[id], i)
	}
	set := func(id schemas.ID, v Verdict) {
		for _, i := range lines[id] {
			verdicts[i] = v
		}
	}
	size, _ := asked.checker.Limits()
	for len(ids) > 0 {
		batch := ids[:min(size, len(ids))]
		ids = ids[len(batch):]
		answer, err := asked.checker.Check(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, id := range batch {
			set(id, Verdict{Verdict: Clear, AsOfMS: answer.AsOfMS})
		}
		for _, o := range answer.OptedOut {
			set(o.ID, Verdict{Verdict: OptedOut, SinceMS: o.SinceMS, AsOfMS: answer.AsOfMS})
		}
		for _, x := range answer.Rejected {
			set(x.ID, Verdict{Verdict: Unverifiable, Reason: x.Reason})
		}
	}
	return verdicts, nil
}
