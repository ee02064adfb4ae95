package sweep

import (
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// The receipts of batches stay in memory until the end of the check: they must
// not hold on to the ids of the batches.
func TestReceiptsDoNotKeepTheBatch(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := &run{job: b.job, deps: Deps{Workspace: w, Progress: noProgress{}, Now: b.now}, dir: t.TempDir()}
	c := &checker{run: r, done: map[int64]answered{}}
	if c.journal, err = r.openJournal(checkLog, c.load); err != nil {
		t.Fatal(err)
	}
	defer c.journal.Close()
	ids := []schemas.ID{testID(1), testID(2), testID(3)}
	if err := c.settle(0, digestOf(ids), ids, schemas.Answer{}); err != nil {
		t.Fatal(err)
	}
	clear(ids)
	if a := c.done[0]; schemas.ID(a.First) != testID(1) || schemas.ID(a.Last) != testID(3) {
		t.Error("the receipt is a part of the batch")
	}
}
