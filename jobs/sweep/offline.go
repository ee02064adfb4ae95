package sweep

import (
	"context"
	"errors"
	"io"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// recall takes the place of check in an offline run: nobody is asked. What the
// suppression list knows is opted out, everything else is unverifiable.
func (r *run) recall(ctx context.Context) error {
	if r.checked != nil {
		return nil
	}
	began := r.now()
	known, err := r.deps.Workspace.openKnown()
	if err != nil {
		return err
	}
	defer known.list.Close()
	reader, err := idset.OpenReader(r.path(shardsDir))
	if err != nil {
		return err
	}
	defer reader.Close()
	r.deps.Progress.Start("look up", r.extracted.Distinct, "ids")
	defer r.deps.Progress.Stop()

	result := schemas.Checked{Distinct: r.extracted.Distinct, Unverifiable: map[schemas.Reason]int64{}}
	for batches := (batcher{reader: reader, known: known, size: 4096}); ; {
		ids, skipped, err := batches.next()
		result.Known += int64(skipped)
		result.Unverifiable[schemas.NotAsked] += int64(len(ids))
		r.deps.Progress.Add(int64(skipped + len(ids)))
		if errors.Is(err, io.EOF) {
			break
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	if err := known.finish(); err != nil {
		return err
	}
	if err := r.checkVerdicts(result); err != nil {
		return err
	}
	result.Seconds = r.now().Sub(began).Seconds()
	r.checked = &result
	return r.append(schemas.EventChecked, result)
}

// knowsSomething fails in a workspace that has no suppression list yet.
func (w *Workspace) knowsSomething() error {
	if w.listPath() != "" || len(w.own) > 0 {
		return nil
	}
	return schemas.Errorf(schemas.Usage, "nothing is known yet: no run of this workspace has asked an operator").
		WithHint("an offline run applies what earlier runs found; run once without --offline")
}
