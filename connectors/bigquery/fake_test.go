package bigquery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/googleapis/gax-go/v2"
	bq "google.golang.org/api/bigquery/v2"

	"optsweep/connectors/bigquery/bqfake"
	"optsweep/schemas"
)

// world is a BigQuery in memory with a customer's table.
type world struct {
	testing.TB
	server *bqfake.Server
	temp   string
	log    *logText
}

// logText collects what is logged.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

const (
	crmName  = "p.d.crm"
	listName = "p.d." + SuppressionTable
	keptName = "p.d.optsweep_removed_d_crm"
	fakeRun  = "20260301T040000.000Z"
)

// testID is a well-formed id.
func testID(n int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint("id ", n)))
	return base64.StdEncoding.EncodeToString(append([]byte{0x10}, sum[:]...))
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// newWorld makes a table with ids that are new, known in part, known, known
// with a later time, and not listed.
func newWorld(t testing.TB) *world {
	w := &world{TB: t, server: bqfake.New(t), temp: t.TempDir(), log: &logText{}}
	w.server.Dataset("p.d")
	w.server.Create(crmName, crmFields(), crmFakeRows()...)
	return w
}

func crmFields() []*bq.TableFieldSchema {
	return []*bq.TableFieldSchema{bqfake.Field("row", "INTEGER"), bqfake.Field("euid", "STRING"), bqfake.Field("part", "STRING"), bqfake.Field("opted_out_since", "TIMESTAMP")}
}

func crmFakeRows() []bqfake.Row {
	row := func(n, id int, flag any) bqfake.Row {
		r := bqfake.Row{"row": int64(n), "opted_out_since": flag, "part": "x"}
		if id > 0 {
			r["euid"] = testID(id)
		}
		if n > 6 {
			r["part"] = "y"
		}
		return r
	}
	return []bqfake.Row{
		row(1, 1, nil), row(2, 1, nil), row(3, 2, nil), row(4, 0, nil), row(5, 3, at(day2)),
		row(6, 4, at(day1)), row(7, 4, nil), row(8, 5, at(day1)), row(9, 6, nil), row(10, 1, nil),
	}
}

// fakeOptedOut are the ids that are opted out: 1 is new, 3 moves to an earlier
// time, 4 is known in part.
func fakeOptedOut() map[string]int64 {
	return map[string]int64{testID(1): day1, testID(3): day1, testID(4): day2}
}

// process is one process of ours.
func (w *world) process() *Client {
	w.Helper()
	c, err := Dial(w.Context(), Connection{
		Project: "p", Location: "EU", Staging: TableRef{Project: "p", Dataset: "d"}, Temp: w.temp,
		Endpoint: w.server.Endpoint, GRPCEndpoint: w.server.GRPCEndpoint, Insecure: true,
		Job: "crm", Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: func() time.Time { return started.Add(time.Minute) },
	})
	if err != nil {
		w.Fatal(err)
	}
	c.pauses = func() *gax.Backoff {
		return &gax.Backoff{Initial: time.Microsecond, Max: time.Millisecond, Multiplier: 2}
	}
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// fakeOptions are those of the customer's table in a mode.
func fakeOptions(mode Mode) Options {
	return Options{
		Table: "crm", Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"euid"}, Scope: schemas.EUID,
		Write: Write{Mode: mode, Column: "opted_out_since", Dataset: TableRef{Project: "p", Dataset: "d"}, Views: true},
	}
}

func (w *world) table(o Options) *Table {
	w.Helper()
	t, err := New(w.process(), o)
	if err != nil {
		w.Fatal(err)
	}
	return t
}

// sweep does what a run does with a table: plan, scan, apply.
func sweep(ctx context.Context, t *Table, optedOut map[string]int64) (receipts []schemas.Receipt, err error) {
	units, failed, err := t.Plan(ctx)
	if err != nil {
		return nil, err
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("plan: %s", failed[0].Error)
	}
	for i := range units {
		units[i].Run = schemas.RunRef{ID: fakeRun, StartedMS: started.UnixMilli()}
		if err := t.Scan(ctx, units[i], func(schemas.Cells) error { return nil }); err != nil {
			return nil, err
		}
	}
	for _, u := range units {
		r, err := t.Apply(ctx, u, since(optedOut), func(schemas.Receipt) error { return nil })
		if err != nil {
			return nil, err
		}
		receipts = append(receipts, r)
	}
	return receipts, nil
}

// must sweeps and fails the test unless that succeeds.
func (w *world) must(t *Table) []schemas.Receipt {
	w.Helper()
	r, err := sweep(w.Context(), t, fakeOptedOut())
	if err != nil {
		w.Fatalf("%v (%s)\n%s", err, schemas.HintOf(err), w.log)
	}
	return r
}

// state is the content of a table, a line a row, sorted.
func (w *world) state(table string) string {
	var lines []string
	columns := w.server.Columns(table)
	for _, r := range w.server.Rows(table) {
		var line []string
		for _, c := range columns {
			v := r[c]
			if at, ok := v.(time.Time); ok {
				v = at.UTC().Format(time.RFC3339)
			}
			line = append(line, fmt.Sprintf("%s=%v", c, v))
		}
		lines = append(lines, strings.Join(line, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// states are those of all tables that outlive a run.
func (w *world) states() string {
	var out []string
	for _, name := range []string{crmName, listName, keptName} {
		out = append(out, name+"\n"+w.state(name))
	}
	for _, view := range []string{"p.d.crm_active", "p.d.crm_suppressed"} {
		out = append(out, view+"\n"+w.server.View(view))
	}
	return strings.Join(out, "\n")
}

// effects counts by step the jobs that changed something.
func (w *world) effects() map[string]int {
	n := map[string]int{}
	for _, j := range w.server.Jobs() {
		switch j.Step {
		case "stage", "load", "merge", "remove", "clear":
			if j.Done && j.Reason == "" {
				n[j.Step]++
			}
		}
	}
	return n
}

// figures are receipts without what differs from process to process.
func figures(receipts []schemas.Receipt) []schemas.Receipt {
	receipts = slices.Clone(receipts)
	for i := range receipts {
		r := &receipts[i]
		r.VersionBefore, r.VersionAfter, r.BytesBefore, r.BytesAfter, r.Billed = "", "", 0, 0, 0
	}
	return receipts
}

// discreet fails the test if a raw id is in what was logged, in names and
// labels of jobs, or in an error.
func (w *world) discreet(errs ...error) {
	w.Helper()
	var text strings.Builder
	text.WriteString(w.log.String())
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(&text, err, schemas.HintOf(err))
		}
	}
	for _, j := range w.server.Jobs() {
		fmt.Fprintln(&text, j.ID, j.Labels)
	}
	for n := 1; n < 10; n++ {
		if strings.Contains(text.String(), strings.TrimRight(testID(n), "=")) {
			w.Errorf("id %d is shown", n)
		}
	}
}

var modes = []Mode{Column, Suppression, Remove}

func TestFakeModes(t *testing.T) {
	want := map[Mode]schemas.Receipt{
		Column:      {Changed: true, Rows: 10, Nulls: 1, OptedOut: 6, Flagged: 7, NewlyFlagged: 4, MovedEarlier: 1, Kept: 1},
		Suppression: {Changed: true, Rows: 10, Nulls: 1, OptedOut: 6, Flagged: 6, NewlyFlagged: 6},
		Remove:      {Changed: true, Rows: 10, Nulls: 1, OptedOut: 6, Flagged: 6, NewlyFlagged: 6, Removed: 6},
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			r := figures(w.must(w.table(fakeOptions(mode))))[0]
			expected := want[mode]
			expected.Table, expected.Unit, expected.Job, expected.Staged, expected.Confirmed = "crm", crmName, r.Job, r.Staged, expected.Flagged
			if r != expected {
				t.Errorf("receipt %+v\nwant    %+v", r, expected)
			}
			t.Logf("%d calls\n%s", len(w.server.Calls()), w.states())
			w.discreet()
		})
	}
}
