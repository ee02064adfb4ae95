package embedded

import (
	"context"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
)

// batchIDs is how many ids are checked in one go: 2 MB of them, which stay in
// the processor's cache.
const batchIDs = 1 << 16

// Checker answers from a store in this process.
type Checker struct{ store *optoutlog.Store }

// NewChecker makes a checker over a store that has been loaded. A store that
// is not ready, or whose last load failed, is refused: what it does not know
// would read as "not opted out".
func NewChecker(store *optoutlog.Store) (*Checker, error) {
	ready, degraded := store.Health()
	if degraded != nil {
		return nil, schemas.Errorf(schemas.Failed, "opt-out log is not complete: %w", degraded).
			WithHint("%s", hintOr(degraded, "repair the log folder and start again"))
	}
	if !ready {
		return nil, notReady()
	}
	return &Checker{store: store}, nil
}

func hintOr(err error, other string) string {
	if hint := schemas.HintOf(err); hint != "" {
		return hint
	}
	return other
}

func notReady() error { return schemas.Errorf(schemas.Failed, "opt-out log is not loaded") }

// Limits are the sizes that suit Check: ids per batch, batches in flight.
func (c *Checker) Limits() (batch, parallel int) { return batchIDs, 1 }

// Check looks ids up. The answer is as of the last time that the log folder
// was read in full.
func (c *Checker) Check(ctx context.Context, ids []schemas.ID) (schemas.Answer, error) {
	if err := ctx.Err(); err != nil {
		return schemas.Answer{}, err
	}
	snapshot := c.store.Snapshot()
	if snapshot == nil {
		return schemas.Answer{}, notReady()
	}
	return schemas.Answer{
		OptedOut: snapshot.AppendOptedOut(nil, ids),
		AsOfMS:   snapshot.Stats().AsOf.UnixMilli(),
	}, nil
}

// Ask hands the answer of Check to settle.
func (c *Checker) Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	answer, err := c.Check(ctx, ids)
	if err != nil {
		return err
	}
	return settle(answer)
}
