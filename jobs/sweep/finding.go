package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// found are the opted-out ids of a unit.
type found struct {
	hits *idset.Hits // nil: their rows are not to be found by them
	name string      // names them with their times, see carrier.hits; empty: nobody will ask
}

// errFinding is an error of the workspace, which all units need.
var errFinding = errors.New("the ids of a unit cannot be looked through")

// finding finds the opted-out ids of a unit when it is called first. If nobody
// will ask for them, it does not look.
func (a *applier) finding(ctx context.Context, u schemas.Unit, d unitExtracted) func() (found, error) {
	return sync.OnceValues(func() (found, error) {
		_, rows := takesRows(a.run.target(u.Table))
		_, recounts := a.run.target(u.Table).(Recounter)
		if !(rows && d.Rows != "") && !(recounts && a.carrier != nil && d.Reading != "") {
			return found{}, nil
		}
		f, err := a.finder.Find(ctx, a.run.path(d.File), a.run.mostHits())
		if err != nil {
			return found{}, fmt.Errorf("%w: %w", errFinding, err)
		}
		if f.File != d.Digest {
			f.Hits = nil // its rows are those of other ids
		}
		if a.carrier == nil {
			return found{hits: f.Hits}, nil
		}
		return found{f.Hits, a.carrier.hits(u, d, f)}, nil
	})
}
