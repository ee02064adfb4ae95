package sweep

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// testID is the n-th id of an endless, fixed series of raw EUIDs.
func testID(n int) schemas.ID {
	sum := sha256.Sum256(fmt.Append(nil, n))
	id, err := schemas.FromRaw(append([]byte{0x10}, sum[:]...))
	if err != nil {
		panic(err)
	}
	return id
}

func testCell(n int) []byte { return testID(n).AppendText(nil) }

// memoryTable is a table in memory that keeps the promises of Source and
// Target.
type memoryTable struct {
	mu       sync.Mutex
	units    []*memoryUnit
	planErr  error
	applyErr map[string]error           // by unit, before anything happens
	lie      func(*schemas.Receipt)     // changes what Apply tells
	onApply  func(u schemas.Unit)       // before commit
	afterPub func(u schemas.Unit) error // after the change is visible
	scanErr  map[string]error
	onlyIDs  bool // does not take rows

	reading string         // what Reading adds
	scanned map[string]int // Scans, by unit
	applied map[string]int // Applies, by ids or by rows, by unit
	decoded map[string]int // of them by ids
}

type memoryUnit struct {
	name    string
	cells   [][]byte
	since   []int64 // 0: no flag
	version int
}

func (t *memoryTable) unit(name string) *memoryUnit {
	for _, u := range t.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

func (t *memoryTable) Plan(context.Context) ([]schemas.Unit, []schemas.UnitFailure, error) {
	if t.planErr != nil {
		return nil, nil, t.planErr
	}
	var units []schemas.Unit
	for _, u := range t.units {
		units = append(units, schemas.Unit{Name: u.name, Location: u.name, Version: fmt.Sprint(u.version), Rows: int64(len(u.cells))})
	}
	return units, nil, nil
}

func (t *memoryTable) Version(_ context.Context, u schemas.Unit) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.unit(u.Name); m != nil {
		return fmt.Sprint(m.version), nil
	}
	return "", errors.New("gone")
}

func (t *memoryTable) Scan(_ context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	t.mu.Lock()
	if t.scanned == nil {
		t.scanned = map[string]int{}
	}
	t.scanned[u.Name]++
	t.mu.Unlock()
	if err := t.scanErr[u.Name]; err != nil {
		return err
	}
	m := t.unit(u.Name)
	if fmt.Sprint(m.version) != u.Version {
		return errors.New("changed")
	}
	for first := 0; first < len(m.cells); first += 3 {
		if err := yield(schemas.Cells{First: int64(first), Values: m.cells[first:min(first+3, len(m.cells))]}); err != nil {
			return err
		}
	}
	return nil
}

// Reading makes memoryTable a Keeper.
func (t *memoryTable) Reading() string { return "memory " + t.reading }

// CountFlags makes it a Recounter.
func (t *memoryTable) CountFlags(_ context.Context, u schemas.Unit) (n int64, err error) {
	m := t.unit(u.Name)
	if fmt.Sprint(m.version) != u.Version {
		return 0, errors.New("changed")
	}
	for _, ms := range m.since {
		if ms != 0 {
			n++
		}
	}
	return n, nil
}

func (t *memoryTable) RemoveLeftovers([]schemas.Unit) error { return nil }

func (t *memoryTable) Apply(_ context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	t.mu.Lock()
	if t.decoded == nil {
		t.decoded = map[string]int{}
	}
	t.decoded[u.Name]++
	t.mu.Unlock()
	return t.apply(u, func(m *memoryUnit, found []int64) (nulls int64, err error) {
		for i, cell := range m.cells {
			if cell == nil {
				nulls++
			} else if ms, ok := since(cell); ok {
				found[i] = ms
			}
		}
		return nulls, nil
	}, commit)
}

// TakesRows makes it a RowTarget.
func (t *memoryTable) TakesRows() bool { return !t.onlyIDs }

func (t *memoryTable) ApplyRows(ctx context.Context, u schemas.Unit, rows schemas.RowTimes, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	return t.apply(u, func(m *memoryUnit, found []int64) (nulls int64, err error) {
		for first := 0; first < len(found) && err == nil; first += 30 { // groups of rows
			var more int64
			more, err = rows(ctx, int64(first), int64(min(30, len(found)-first)), func(row, sinceMS int64) { found[row] = sinceMS })
			nulls += more
		}
		return nulls, err
	}, commit)
}

// apply writes the flags that find puts beside the rows.
func (t *memoryTable) apply(u schemas.Unit, find func(*memoryUnit, []int64) (nulls int64, err error), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	if err := t.applyErr[u.Name]; err != nil {
		return schemas.Receipt{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.applied == nil {
		t.applied = map[string]int{}
	}
	m := t.unit(u.Name)
	r := schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: int64(len(m.cells))}
	if fmt.Sprint(m.version) != u.Version {
		return r, errors.New("changed")
	}
	found := make([]int64, len(m.cells))
	var err error
	if r.Nulls, err = find(m, found); err != nil {
		return r, err
	}
	t.applied[u.Name]++
	next := slices.Clone(m.since)
	for i, ms := range found {
		switch {
		case ms == 0 && next[i] != 0:
			r.Kept++
		case ms != 0 && next[i] == 0:
			next[i] = ms
			r.NewlyFlagged++
		case ms != 0 && ms < next[i]:
			next[i] = ms
			r.MovedEarlier++
		}
		if ms != 0 {
			r.OptedOut++
		}
	}
	for _, ms := range next {
		if ms != 0 {
			r.Flagged++
			r.Confirmed++
		}
	}
	r.Changed = !slices.Equal(next, m.since)
	if t.lie != nil {
		t.lie(&r)
	}
	if !r.Changed {
		return r, nil
	}
	if t.onApply != nil {
		t.onApply(u)
	}
	r.VersionAfter = fmt.Sprint(m.version + 1)
	if err := commit(r); err != nil {
		return r, err
	}
	m.since = next
	m.version++
	if t.afterPub != nil {
		return r, t.afterPub(u)
	}
	return r, nil
}

// listOperator answers from a map and keeps count of what it was asked.
type listOperator struct {
	mu       sync.Mutex
	optedOut map[schemas.ID]int64
	reject   map[schemas.ID]schemas.Reason
	batch    int
	parallel int
	asked    map[schemas.ID]int
	batches  int
	fail     func(batch int) error // before the batch is answered
	forget   bool                  // does not keep count
}

func (o *listOperator) Limits() (int, int) { return o.batch, o.parallel }

func (o *listOperator) Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	o.batches++
	a := schemas.Answer{AsOfMS: 1_700_000_000_000 + int64(len(ids))}
	for _, id := range ids {
		if !o.forget {
			o.asked[id]++
		}
	}
	if o.fail != nil {
		if err := o.fail(o.batches); err != nil {
			return err
		}
	}
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

// bench is everything a test needs for runs on one workspace.
type bench struct {
	t        testing.TB
	dir      string
	disk     durable.Disk
	table    *memoryTable
	operator *listOperator
	job      Job
	list     ListSink
	clock    time.Time
	realTime bool    // for benchmarks
	begun    []Begun // what Run told
	own      map[string]own
}

// newBench makes a workspace and a table of two units: ids 0 to 59 with some
// repeated, NULLs and malformed cells, of which every seventh is opted out.
func newBench(t testing.TB) *bench {
	b := &bench{t: t, dir: filepath.Join(fastDir(t), "ws"), list: KeepList, clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	var first, second [][]byte
	for n := range 40 {
		first = append(first, testCell(n))
		second = append(second, testCell(n+20))
	}
	first = append(first, nil, []byte("nobody@example.com"), append(testCell(7), ' '))
	second = append(second, nil, nil, []byte("x"))
	b.table = &memoryTable{units: []*memoryUnit{
		{name: "a", cells: first, since: make([]int64, len(first))},
		{name: "b", cells: second, since: make([]int64, len(second))},
	}}
	b.operator = &listOperator{optedOut: map[schemas.ID]int64{}, batch: 10, parallel: 1, asked: map[schemas.ID]int{}}
	for n := 0; n < 200; n += 7 {
		b.operator.optedOut[testID(n)] = int64(1_600_000_000_000 + n*1000)
	}
	b.job = Job{
		Started: schemas.RunStarted{Job: "test", ConfigDigest: "c1", ToolVersion: "v1", Scope: schemas.EUID, Environment: schemas.Production},
		Rules:   schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production},
		Tables:  []Table{{Name: "crm", Source: b.table, Target: b.table}},
		Limits:  Limits{MaxQuarantined: -1, MaxNewFlags: -1, MaxRowDrop: -1}, MaxDuration: time.Hour, Memory: 16 << 20, Workers: 1,
	}
	if err := CreateWorkspace(durable.Disk{}, b.dir, b.now); err != nil {
		t.Fatal(err)
	}
	return b
}

// fastDir is a temporary folder in memory where the system has such a thing:
// the tests sync thousands of times, and what they prove is the order.
func fastDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "optsweep-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (b *bench) now() time.Time {
	if b.realTime {
		return time.Now()
	}
	b.clock = b.clock.Add(time.Millisecond)
	return b.clock
}

func (b *bench) run(ctx context.Context) (schemas.Report, error) {
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		return schemas.Report{}, err
	}
	defer w.Close()
	return Run(ctx, b.job, Deps{
		Workspace: w, Checker: b.operator, List: b.list, Progress: noProgress{},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: b.now, Begun: func(x Begun) { b.begun = append(b.begun, x) },
	})
}

// mustRun runs to the end and checks the table against the operator's list.
func (b *bench) mustRun() schemas.Report {
	b.t.Helper()
	rep, err := b.run(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	b.checkFlags()
	return rep
}

// checkFlags compares every flag with what the operator lists.
func (b *bench) checkFlags() {
	b.t.Helper()
	for _, u := range b.table.units {
		for i, cell := range u.cells {
			id, _, reason := b.job.Rules.Parse(cell)
			want := int64(0)
			if cell != nil && reason == schemas.Valid {
				want = b.operator.optedOut[id]
				for _, l := range b.own {
					for n, ms := range l {
						if testID(n) == id && (want == 0 || ms < want) {
							want = ms
						}
					}
				}
			}
			if u.since[i] != want {
				b.t.Fatalf("unit %s row %d: flag %d, want %d", u.name, i, u.since[i], want)
			}
		}
	}
}

// restore puts a copy of unit a from before its first flag back in place.
func (b *bench) restore() {
	a := b.table.units[0]
	a.since = make([]int64, len(a.since))
	a.version += 100
}

// writes counts how often units were written by runs.
func (b *bench) writes() (n int) {
	for _, u := range b.table.units {
		n += u.version % 100
	}
	return n
}

// plan is what optsweep plan would write.
func (b *bench) plan() schemas.Plan {
	b.t.Helper()
	plan, err := MakePlan(context.Background(), b.job, b.dir, Pace{BatchIDs: b.operator.batch, BatchSeconds: 1}, b.now())
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

// keepToPlan makes the next runs keep to a plan made now.
func (b *bench) keepToPlan() {
	plan := b.plan()
	b.job.Plan, b.job.Started.Plan = &plan, "digest"
}

// oneByOne lets a fault decide on one step at a time: files of a unit are written
// side by side.
func oneByOne(fault durable.Fault) durable.Fault {
	var mu sync.Mutex
	return func(step durable.Step, path string) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		return fault(step, path)
	}
}
