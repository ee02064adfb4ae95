package prove

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

var euid = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// testID is the n-th id of an endless, fixed series of raw EUIDs.
func testID(n int) schemas.ID {
	sum := sha256.Sum256(fmt.Append(nil, n))
	id, err := schemas.FromRaw(append([]byte{0x10}, sum[:]...))
	if err != nil {
		panic(err)
	}
	return id
}

// table is a table in memory; each unit is a list of cells with flags.
type table struct {
	names   []string
	cells   map[string][][]byte
	flags   map[string][]int64
	version map[string]int
	broken  map[string]bool
}

func newTable() *table {
	return &table{cells: map[string][][]byte{}, flags: map[string][]int64{}, version: map[string]int{}, broken: map[string]bool{}}
}

func (t *table) put(name string, cells ...[]byte) {
	if _, ok := t.cells[name]; !ok {
		t.names = append(t.names, name)
	}
	t.cells[name], t.flags[name] = cells, make([]int64, len(cells))
	t.version[name]++
}

func (t *table) Plan(context.Context) (units []schemas.Unit, failed []schemas.UnitFailure, err error) {
	for _, n := range t.names {
		units = append(units, schemas.Unit{Name: n, Version: fmt.Sprint(t.version[n]), Rows: int64(len(t.cells[n]))})
	}
	return units, nil, nil
}

func (t *table) Version(_ context.Context, u schemas.Unit) (string, error) {
	return fmt.Sprint(t.version[u.Name]), nil
}

func (t *table) Scan(_ context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	if t.broken[u.Name] {
		return errors.New("cannot be read")
	}
	return yield(schemas.Cells{Values: t.cells[u.Name]})
}

func (t *table) RemoveLeftovers([]schemas.Unit) error { return nil }

func (t *table) Apply(_ context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	r := schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: u.Rows}
	for i, cell := range t.cells[u.Name] {
		if cell == nil {
			r.Nulls++
			continue
		}
		ms, ok := since(cell)
		if ok {
			r.OptedOut++
			if t.flags[u.Name][i] == 0 {
				r.NewlyFlagged++
				t.flags[u.Name][i] = ms
			}
		} else if t.flags[u.Name][i] != 0 {
			r.Kept++
		}
	}
	r.Flagged = r.OptedOut + r.Kept
	r.Confirmed = r.Flagged
	if r.Changed = r.NewlyFlagged > 0; r.Changed {
		r.VersionAfter = fmt.Sprint(t.version[u.Name] + 1)
		if err := commit(r); err != nil {
			return r, err
		}
		t.version[u.Name]++
	}
	return r, nil
}

// operator answers from a map.
type operator struct {
	mu       sync.Mutex
	optedOut map[schemas.ID]int64
	reject   map[schemas.ID]schemas.Reason
	asOf     int64
	asked    int
}

func (o *operator) Limits() (int, int) { return 10, 1 }

func (o *operator) Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	o.asked += len(ids)
	o.asOf++
	a := schemas.Answer{AsOfMS: o.asOf}
	for _, id := range ids {
		if ms, ok := o.optedOut[id]; ok {
			a.OptedOut = append(a.OptedOut, schemas.OptOut{ID: id, SinceMS: ms})
		} else if reason, ok := o.reject[id]; ok {
			a.Rejected = append(a.Rejected, schemas.Rejection{ID: id, Reason: reason})
		}
	}
	return settle(a)
}

type noProgress struct{}

func (noProgress) Start(string, int64, string) {}
func (noProgress) Add(int64)                   {}
func (noProgress) Stop()                       {}

// world is a workspace, a table and an operator.
type world struct {
	t        *testing.T
	dir      string
	table    *table
	operator *operator
	clock    time.Time
	disk     durable.Disk
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, dir: filepath.Join(t.TempDir(), "ws"), table: newTable(), clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		operator: &operator{optedOut: map[schemas.ID]int64{}, reject: map[schemas.ID]schemas.Reason{}},
	}
	if err := sweep.CreateWorkspace(durable.Disk{}, w.dir, w.now); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time {
	w.clock = w.clock.Add(time.Millisecond)
	return w.clock
}

// run makes a run and returns its name.
func (w *world) run(dry bool) string {
	w.t.Helper()
	w.clock = w.clock.Add(time.Hour)
	w.operator.asOf = w.clock.UnixMilli() + 100
	workspace, err := sweep.OpenWorkspace(w.disk, w.dir, w.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer workspace.Close()
	list := sweep.ListSink(sweep.KeepList)
	target := sweep.Target(w.table)
	if dry {
		list, target = sweep.PreviewList, preview{w.table}
	}
	rep, err := sweep.Run(context.Background(), sweep.Job{
		Started: schemas.RunStarted{Job: "test", Scope: schemas.EUID, Environment: schemas.Production, DryRun: dry},
		Rules:   euid, Tables: []sweep.Table{{Name: "crm", Source: w.table, Target: target}},
		Limits: sweep.Limits{MaxNewFlags: -1, MaxQuarantined: -1, MaxRowDrop: -1, AllowZeroHits: true}, MaxDuration: time.Hour, Memory: 16 << 20, Workers: 1,
	}, sweep.Deps{
		Workspace: workspace, Checker: w.operator, List: list, Progress: noProgress{},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: w.now,
	})
	if err != nil && w.disk.Fault == nil {
		w.t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Hour)
	return rep.Run
}

// preview works out receipts and writes nothing.
type preview struct{ *table }

func (p preview) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), _ func(schemas.Receipt) error) (schemas.Receipt, error) {
	copied := *p.table
	copied.flags = map[string][]int64{u.Name: append([]int64{}, p.flags[u.Name]...)}
	copied.version = map[string]int{u.Name: p.version[u.Name]}
	return copied.Apply(ctx, u, since, func(schemas.Receipt) error { return nil })
}

func (w *world) prove(id schemas.ID) schemas.Proof {
	w.t.Helper()
	p, err := Ask(context.Background(), sweep.Layout(w.dir), Question{
		ID: id, Rules: euid, Tables: []Table{{Name: "crm", Source: w.table}}, Workers: 3, Now: w.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}
