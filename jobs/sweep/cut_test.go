package sweep

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// all is retention of everything that may go.
func (b *bench) all() Retention {
	return Retention{IDsBefore: b.clock, RunsBefore: b.clock, LedgerBefore: b.clock, User: "ops", Host: "alpha"}
}

func (b *bench) mustPurge(r Retention) schemas.PurgeResult {
	b.t.Helper()
	p, err := b.purge(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) readLedger() (events []schemas.Event, end ledger.End) {
	b.t.Helper()
	end, err := ledger.Read(filepath.Join(b.dir, ledgerFile), func(e schemas.Event) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return events, end
}

// state is what the workspace knows once its ledger is read, but for the
// receipts of runs that are gone.
func (b *bench) state() (schemas.SuppressionUpdated, map[string]schemas.JobPast, schemas.SigningKey) {
	b.t.Helper()
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	past := map[string]schemas.JobPast{}
	for job, h := range w.past {
		past[job] = h.JobPast
	}
	signer, err := Layout(b.dir).Signer()
	if err != nil || signer == (schemas.SigningKey{}) {
		b.t.Fatalf("%+v, %v", signer, err)
	}
	return w.list, past, signer
}

func TestPurgeCutsTheLedgerAndSaysSo(t *testing.T) {
	b := newBench(t)
	runs := b.months() // in May, June and July
	path := filepath.Join(b.dir, ledgerFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list, past, signer := b.state()
	june := time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC)
	r := Retention{IDsBefore: june, RunsBefore: june, LedgerBefore: june, User: "ops", Host: "alpha", DryRun: true}
	told := b.mustPurge(r)
	if now, _ := os.ReadFile(path); !bytes.Equal(now, whole) {
		t.Fatal("a dry run changed the ledger")
	}
	r.DryRun = false
	p := b.mustPurge(r)
	if p != told {
		t.Errorf("%+v, told %+v", p, told)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(now, whole[p.Ledger.Bytes:]) {
		t.Fatal("what stays is not what was there")
	}
	events, end := b.readLedger()
	if events[0].Type != schemas.EventRunStarted || events[0].Run != runs[2] || events[0].Seq != end.Begin().Seq+1 {
		t.Errorf("it begins with %+v", events[0])
	}
	l := p.Ledger
	if l.Runs != 2 || l.Oldest != runs[0] || l.Newest != runs[1] || l.Events != end.Begin().Seq || l.Since.Day() != 1 || l.Until.Month() != time.June {
		t.Errorf("%+v", l)
	}
	if c := end.Cut; c.CutCount != l || c.User != "ops" || c.Host != "alpha" || !c.Before.Equal(june) || c.At.Before(june) {
		t.Errorf("%+v", c)
	}
	if head, err := ledger.ReadHead(Layout(b.dir).Head()); err != nil || head != end.Head {
		t.Errorf("head %+v, %v; want %+v", head, err, end.Head)
	}
	list2, past2, signer2 := b.state()
	if list2 != list || !reflect.DeepEqual(past2, past) || signer2 != signer {
		t.Errorf("it knows %+v, %+v, %+v; knew %+v, %+v, %+v", list2, past2, signer2, list, past, signer)
	}
	if again := b.mustPurge(r); again.Ledger != (schemas.CutCount{}) || b.ledgerTypes()[schemas.EventLedgerCut] != 1 {
		t.Errorf("again: %+v", again.Ledger)
	}
	if rep := b.mustRun(); rep.Tables[0].UnitsChanged != 0 || rep.IDs.Known != 9 {
		t.Errorf("the next run: %+v", rep)
	}
	if !RemovedRun(runs[0], end.Cut) || !RemovedRun(runs[1], end.Cut) || RemovedRun(runs[2], end.Cut) || RemovedRun("x", end.Cut) || RemovedRun(runs[0], nil) {
		t.Error("runs that were removed are not told from others")
	}
	if err := NoSuchRun(runs[0], end); !strings.Contains(err.Error(), "retention removed all runs until") || schemas.HintOf(err) == "" {
		t.Error(err)
	}
}

// Every purge cuts, and what the first one restated is restated by the next.
func TestCutAfterCut(t *testing.T) {
	b := newBench(t)
	for range 4 {
		b.mustRun()
		b.clock = b.clock.AddDate(0, 1, 0)
		list, past, signer := b.state()
		b.mustPurge(b.all())
		list2, past2, signer2 := b.state()
		if list2 != list || !reflect.DeepEqual(past2, past) || signer2 != signer {
			t.Fatalf("it knows %+v, %+v; knew %+v, %+v", list2, past2, list, past)
		}
	}
	events, end := b.readLedger()
	if started := b.ledgerTypes()[schemas.EventRunStarted]; started != 1 || b.ledgerTypes()[schemas.EventLedgerCut] != 1 {
		t.Errorf("%d runs are left in %d events", started, len(events))
	}
	kept := end.Cut.Kept
	if kept.SigningKey == nil || kept.List == nil || kept.Jobs["test"].Hits != 9 {
		t.Errorf("kept %+v", kept)
	}
}

// A folder could not be verified without the events of its run.
func TestEventsOutliveFolders(t *testing.T) {
	b := newBench(t)
	b.months()
	r := b.all()
	r.RunsBefore = r.RunsBefore.Add(-time.Second)
	if _, err := b.purge(r); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("got %v", err)
	}
	if b.ledgerTypes()[schemas.EventPurged] != 0 {
		t.Error("something was removed")
	}
}

// Neither the last run, nor one that is not finished, nor an unflag that is not
// finished is cut, nor is anything cut in two.
func TestCutSparesWhatIsNotFinished(t *testing.T) {
	down := func(int) error { return errors.New("down") }
	for name, c := range map[string]struct {
		prepare func(b *bench)
		first   schemas.EventType // that is left
		runs    int               // that are left
	}{
		"nothing but a workspace":   {func(*bench) {}, schemas.EventWorkspaceCreated, 0},
		"one run":                   {func(b *bench) { b.mustRun() }, schemas.EventWorkspaceCreated, 1},
		"one dry run":               {func(b *bench) { b.dryRun() }, schemas.EventWorkspaceCreated, 1},
		"two dry runs":              {func(b *bench) { b.dryRun(); b.dryRun() }, schemas.EventRunStarted, 1},
		"an unfinished run":         {func(b *bench) { b.mustRun(); b.mustRun(); b.operator.fail = down; _, _ = b.run(context.Background()) }, schemas.EventRunStarted, 2},
		"only an unfinished run":    {func(b *bench) { b.operator.fail = down; _, _ = b.run(context.Background()) }, schemas.EventWorkspaceCreated, 1},
		"a completed unflag":        {func(b *bench) { b.mustRun(); _, _ = b.unflag(28); b.mustRunAny() }, schemas.EventRunStarted, 1},
		"an unflag after the run":   {func(b *bench) { b.mustRun(); b.mustRun(); _, _ = b.unflag(28) }, schemas.EventRunStarted, 1},
		"an unfinished unflag":      {func(b *bench) { b.mustRun(); b.mustRun(); b.cutShort(28) }, schemas.EventRunStarted, 1},
		"an unflag, then a new run": {func(b *bench) { b.mustRun(); b.mustRun(); b.cutShort(28); b.mustRunAny(); b.mustRunAny() }, schemas.EventUnflagStarted, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.prepare(b)
			b.operator.fail = nil
			b.clock = b.clock.AddDate(3, 0, 0)
			b.mustPurge(b.all())
			events, _ := b.readLedger()
			if events[0].Type != c.first || b.ledgerTypes()[schemas.EventRunStarted] != c.runs {
				t.Errorf("%d runs are left, the first event is %s", b.ledgerTypes()[schemas.EventRunStarted], events[0].Type)
			}
			if _, err := b.run(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// dryRun makes a run that leaves nothing but its records.
func (b *bench) dryRun() {
	b.t.Helper()
	b.job.Started.DryRun, b.list, b.job.Tables[0].Target = true, PreviewList, previewTarget{b.table}
	b.mustRunAny()
	b.job.Started.DryRun, b.list, b.job.Tables[0].Target = false, KeepList, b.table
}

// A list that only a run has told of which was given up stays in force.
func TestListOutlivesARunThatWasGivenUp(t *testing.T) {
	b := newBench(t)
	b.disk = durable.Disk{Fault: oneByOne(func(_ durable.Step, path string) (bool, error) {
		if filepath.Base(path) == applyLog {
			return false, errors.New("dead")
		}
		return false, nil
	})}
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the run was not cut short")
	}
	b.disk = durable.Disk{}
	b.dryRun()
	list, _, _ := b.state()
	if p := b.mustPurge(b.all()); p.Ledger.Runs != 1 || b.ledgerTypes()[schemas.EventSuppressionUpdated] != 1 {
		t.Fatalf("%+v, %v", p, b.ledgerTypes())
	}
	if after, _, _ := b.state(); after != list || list.File == "" {
		t.Fatalf("%+v, was %+v", after, list)
	}
	b.operator.optedOut = map[schemas.ID]int64{}
	b.job.Limits.AllowZeroHits = true
	b.mustRunAny()
	if n := b.table.units[0].since[7]; n == 0 {
		t.Error("an earlier opt-out was forgotten")
	}
}

// Whenever the cutoff is, what stays begins between runs and unflags.
func TestNothingIsCutInTwo(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	if _, err := b.unflag(28); err != nil {
		t.Fatal(err)
	}
	b.mustRun()
	b.cutShort(35)
	b.mustRunAny()
	if _, err := b.unflag(35); err != nil {
		t.Fatal(err)
	}
	b.mustRun()
	events, _ := b.readLedger()
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	begins := map[int64]bool{}
	for _, e := range events {
		cut, _, err := w.planCut(context.Background(), e.Time.Add(1))
		if err != nil || cut.Last.Seq > e.Seq {
			t.Fatalf("cutoff at event %d: %+v, %v", e.Seq, cut, err)
		}
		begins[cut.Last.Seq+1] = true
	}
	if len(begins) != 5 { // nothing, run, unflag, run, unflag with the run in its midst
		t.Errorf("%d beginnings", len(begins))
	}
	for seq := range begins {
		switch typ := events[seq-1].Type; typ {
		case schemas.EventWorkspaceCreated, schemas.EventRunStarted, schemas.EventUnflagStarted:
		default:
			t.Errorf("it would begin with event %d, %s", seq, typ)
		}
	}
}

// mustRunAny runs without a look at the flags.
func (b *bench) mustRunAny() {
	b.t.Helper()
	if _, err := b.run(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// cutShort leaves an unflag unfinished.
func (b *bench) cutShort(n int) {
	b.t.Helper()
	steps := 0
	b.disk = durable.Disk{Fault: oneByOne(func(s durable.Step, _ string) (bool, error) {
		if steps++; steps > 8 {
			return false, errors.New("dead")
		}
		return false, nil
	})}
	_, err := b.unflag(n)
	b.disk = durable.Disk{}
	if types := b.ledgerTypes(); err == nil || types[schemas.EventUnflagStarted] != types[schemas.EventUnflagged]+1 {
		b.t.Fatalf("not cut short: %v, %v", err, types)
	}
}

// What limits compare with outlives the runs that it came from: an offline run
// is all that is left, and a table that was last whole in a run that is gone.
func TestLimitsRememberWhatWasCut(t *testing.T) {
	for name, c := range map[string]struct {
		limit  string
		change func(b *bench)
	}{
		"zero_hits":    {zeroHits, func(b *bench) { b.strangers() }},
		"max_row_drop": {maxRowDrop, func(b *bench) { b.job.Limits.MaxRowDrop = 0.1; b.table.units = b.table.units[:1] }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, purge := range []bool{false, true} {
				b := newBench(t)
				b.mustRun()
				b.job.Started.Offline = true
				b.mustRunAny()
				b.table.scanErr = map[string]error{"b": errors.New("broken")}
				_, _ = b.run(context.Background())
				b.table.scanErr, b.job.Started.Offline = nil, false
				if purge {
					b.clock = b.clock.AddDate(3, 0, 0)
					if p := b.mustPurge(b.all()); p.Ledger.Runs != 2 {
						t.Fatalf("%+v", p.Ledger)
					}
				}
				c.change(b)
				if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Limit {
					t.Errorf("purged=%v: %v", purge, err)
				} else if events, _ := b.readLedger(); !strings.Contains(string(events[len(events)-2].Data)+string(events[len(events)-1].Data), c.limit) {
					t.Errorf("purged=%v: another limit: %v", purge, err)
				}
			}
		})
	}
}

// A job that has not run for longer than the ledger is kept does not keep the
// ledger from being cut.
func TestRetiredJobDoesNotHoldTheLedger(t *testing.T) {
	b := newBench(t)
	b.job.Started.Job = "retired"
	b.mustRun()
	b.job.Started.Job = "test"
	b.months()
	b.mustPurge(b.all())
	if types := b.ledgerTypes(); types[schemas.EventRunStarted] != 1 {
		t.Errorf("%d runs are left", types[schemas.EventRunStarted])
	}
	if _, past, _ := b.state(); past["retired"].Hits != 9 || past["retired"].Rows["crm"] != 86 {
		t.Errorf("%+v", past)
	}
	b.job.Started.Job = "retired"
	b.restore()
	b.mustRun() // flags it again
}

// A process that lost its lease does not cut the ledger of the next holder.
func TestCutIsFencedOff(t *testing.T) {
	b := newBench(t)
	b.months()
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cut, begun, err := w.planCut(context.Background(), b.clock)
	if err != nil || begun || cut.Last.Seq == 0 || w.firstNeeded() == math.MaxInt64 {
		t.Fatalf("%+v, %v", cut, err)
	}
	if err := w.append("", schemas.EventLedgerCut, cut); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Raise(durable.Disk{}, filepath.Join(b.dir, fenceFile), "x", ledger.Owner{PID: 2}); err != nil {
		t.Fatal(err)
	}
	if err := w.cut(cut, true); schemas.ClassOf(err) != schemas.Locked {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(filepath.Join(b.dir, ledgerFile)); !bytes.Equal(now, before) {
		t.Error("the ledger was changed")
	}
}
