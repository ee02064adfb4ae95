// Package sweeptest makes workspaces for tests: it runs the main job over a
// table and an operator in memory. Only tests import it.
package sweeptest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// ToolVersion is the version that the runs of a Bench claim to be.
const ToolVersion = "v1"

// ID is the n-th of a fixed series of raw EUIDs.
func ID(n int) schemas.ID {
	return schemas.ID(append([]byte{0x10}, sum(n)...))
}

func sum(n int) []byte {
	s := sha256.Sum256(fmt.Append(nil, n))
	return s[:]
}

// Bench is a workspace with a table of two units, "a" and "b".
type Bench struct {
	Dir      string // of the workspace
	Disk     durable.Disk
	DryRun   bool
	OptedOut map[schemas.ID]int64
	Rejected map[schemas.ID]schemas.Reason
	Fail     func(batch int) error // before a batch is answered
	Clock    time.Time

	units []*unit
}

type unit struct {
	name    string
	cells   [][]byte
	since   []int64
	version int
}

// New makes a workspace in a folder below dir. Of its 60 ids every seventh is
// opted out; two cells are no ids, two are NULL.
func New(dir string) (*Bench, error) {
	b := &Bench{
		Dir: filepath.Join(dir, "ws"), OptedOut: map[schemas.ID]int64{}, Rejected: map[schemas.ID]schemas.Reason{},
		Clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
	a, z := &unit{name: "a"}, &unit{name: "b"}
	for n := range 40 {
		a.cells = append(a.cells, ID(n).AppendText(nil))
		z.cells = append(z.cells, ID(n+20).AppendText(nil))
	}
	a.cells = append(a.cells, nil, []byte("nobody@example.com"))
	z.cells = append(z.cells, nil, []byte("x"))
	for n := 0; n < 60; n += 7 {
		b.OptedOut[ID(n)] = int64(1_600_000_000_000 + n*1000)
	}
	for _, u := range []*unit{a, z} {
		u.since = make([]int64, len(u.cells))
		b.units = append(b.units, u)
	}
	return b, sweep.CreateWorkspace(durable.Disk{}, b.Dir, b.Now)
}

// Now is a clock that moves with every look at it.
func (b *Bench) Now() time.Time {
	b.Clock = b.Clock.Add(time.Millisecond)
	return b.Clock
}

// Run makes or goes on with a run.
func (b *Bench) Run(ctx context.Context) (rep schemas.Report, err error) {
	w, err := sweep.OpenWorkspace(b.Disk, b.Dir, b.Now, ledger.Owner{PID: 1, Host: "test", Job: "test"})
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	t := table{b}
	job := sweep.Job{
		Started: schemas.RunStarted{
			Job: "test", ConfigDigest: "c1", ToolVersion: ToolVersion, Scope: schemas.EUID, Environment: schemas.Production, DryRun: b.DryRun,
		},
		Rules:  schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production},
		Tables: []sweep.Table{{Name: "crm", Source: t, Target: t}},
		Limits: sweep.Limits{MaxNewFlags: -1, MaxQuarantined: -1, MaxRowDrop: -1, AllowZeroHits: true},
		// One worker and one connection, so that equal runs leave equal bytes.
		MaxDuration: time.Hour, Memory: 16 << 20, Workers: 1,
	}
	list := sweep.ListSink(sweep.KeepList)
	if b.DryRun {
		list = sweep.PreviewList
	}
	return sweep.Run(ctx, job, sweep.Deps{
		Workspace: w, Checker: &operator{bench: b}, List: list, Progress: quiet{}, Log: slog.New(slog.DiscardHandler), Now: b.Now,
	})
}

// Purge applies retention.
func (b *Bench) Purge(ctx context.Context, r sweep.Retention) (p schemas.PurgeResult, err error) {
	w, err := sweep.OpenWorkspace(b.Disk, b.Dir, b.Now, ledger.Owner{PID: 1, Host: "test", Job: "test"})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return w.Purge(ctx, r)
}

// Everything is retention of all that may go. Ages are from now.
func (b *Bench) Everything() sweep.Retention {
	return sweep.Retention{IDsBefore: b.Clock, RunsBefore: b.Clock, LedgerBefore: b.Clock, User: "ops", Host: "alpha"}
}

// Restore puts a copy of unit u from before its first flag back in place.
func (b *Bench) Restore(name string) {
	u := b.unit(name)
	u.since = make([]int64, len(u.cells))
	u.version += 100
}

// State is the content of the table and how it was written.
func (b *Bench) State() string {
	var all string
	for _, u := range b.units {
		all += fmt.Sprintln(u.name, u.version, u.since)
	}
	return all
}

// Change makes unit u look as if another program had written it.
func (b *Bench) Change(name string) { b.unit(name).version += 100 }

// Version tells the present version of a unit.
func (b *Bench) Version(_ context.Context, u schemas.Unit) (string, error) {
	if m := b.unit(u.Name); m != nil {
		return fmt.Sprint(m.version), nil
	}
	return "", errors.New("gone")
}

func (b *Bench) unit(name string) *unit {
	for _, u := range b.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

type table struct{ *Bench }

func (t table) Plan(context.Context) (units []schemas.Unit, _ []schemas.UnitFailure, _ error) {
	for _, u := range t.units {
		units = append(units, schemas.Unit{Name: u.name, Location: u.name, Version: fmt.Sprint(u.version), Rows: int64(len(u.cells)), Bytes: 1000})
	}
	return units, nil, nil
}

func (t table) Scan(_ context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	return yield(schemas.Cells{Values: t.unit(u.Name).cells})
}

func (t table) RemoveLeftovers([]schemas.Unit) error { return nil }

func (t table) Apply(_ context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	m := t.unit(u.Name)
	r := schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: int64(len(m.cells)), BytesBefore: 1000, BytesAfter: 1000}
	for i, cell := range m.cells {
		ms, ok := since(cell)
		switch {
		case cell == nil:
			r.Nulls++
		case ok:
			r.OptedOut++
			r.Flagged++
			r.Confirmed++
			if m.since[i] == 0 {
				r.NewlyFlagged++
				m.since[i] = ms
			}
		}
	}
	r.Changed = r.NewlyFlagged > 0
	if !r.Changed || t.DryRun {
		return r, nil
	}
	r.VersionAfter = fmt.Sprint(m.version + 1)
	if err := commit(r); err != nil {
		return r, err
	}
	m.version++
	return r, nil
}

// operator answers batches of ten ids.
type operator struct {
	bench   *Bench
	mu      sync.Mutex
	batches int
}

func (o *operator) Limits() (batch, parallel int) { return 10, 1 }

func (o *operator) Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	o.batches++
	if o.bench.Fail != nil {
		if err := o.bench.Fail(o.batches); err != nil {
			return err
		}
	}
	a := schemas.Answer{AsOfMS: 1_777_000_000_000}
	for _, id := range ids {
		if ms, ok := o.bench.OptedOut[id]; ok {
			a.OptedOut = append(a.OptedOut, schemas.OptOut{ID: id, SinceMS: ms})
		} else if reason, ok := o.bench.Rejected[id]; ok {
			a.Rejected = append(a.Rejected, schemas.Rejection{ID: id, Reason: reason})
		}
	}
	return settle(a)
}

type quiet struct{}

func (quiet) Start(string, int64, string) {}
func (quiet) Add(int64)                   {}
func (quiet) Stop()                       {}
