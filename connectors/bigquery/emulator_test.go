package bigquery

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"

	"optsweep/connectors/bigquery/bqtest"
	"optsweep/schemas"
)

// bench is a dataset of the emulator and a client of ours.
type bench struct {
	*testing.T
	data   *bqtest.Dataset
	client *Client
	run    string
}

var started = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

// realProject names the environment variable with a project in which the tests
// of this package run against BigQuery itself, with application default
// credentials, in place of the emulator. They make datasets optsweep_test_*
// and remove them. Location: EU.
const realProject = "OPTSWEEP_BIGQUERY_PROJECT"

func newBench(t *testing.T) *bench {
	t.Helper()
	if project := os.Getenv(realProject); project != "" {
		return newRealBench(t, project)
	}
	em := bqtest.New(t)
	return newBenchAt(t, em, em.Endpoint())
}

func newBenchAt(t *testing.T, em *bqtest.Emulator, endpoint string) *bench {
	t.Helper()
	d := em.Dataset(t)
	c, err := Dial(t.Context(), Connection{
		Project: d.Project, Location: "EU", Staging: TableRef{Project: d.Project, Dataset: d.ID}, Temp: t.TempDir(),
		Endpoint: endpoint, GRPCEndpoint: em.GRPCEndpoint(), Insecure: true,
		Job: "crm", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})), Now: func() time.Time { return started.Add(time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &bench{T: t, data: d, client: c, run: "20260301T040000.000Z"}
}

func newRealBench(t *testing.T, project string) *bench {
	t.Helper()
	rest, err := bigquery.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	d := &bqtest.Dataset{Project: project, ID: "optsweep_test_" + strings.ToLower(rand.Text()[:10]), Client: rest}
	if err := rest.Dataset(d.ID).Create(t.Context(), &bigquery.DatasetMetadata{Location: "EU", DefaultTableExpiration: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rest.Dataset(d.ID).DeleteWithContents(context.Background()); err != nil {
			t.Error(err)
		}
		_ = rest.Close()
	})
	c, err := Dial(t.Context(), Connection{
		Project: project, Location: "EU", Staging: TableRef{Project: project, Dataset: d.ID}, Temp: t.TempDir(),
		Job: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &bench{T: t, data: d, client: c, run: "20260301T040000.000Z"}
}

// What runs against BigQuery itself says so, and what does not says so, too.
func TestAgainst(t *testing.T) {
	b := newBench(t)
	if os.Getenv(realProject) == "" {
		t.Logf("not run against BigQuery itself: set %s to a project to do so", realProject)
		return
	}
	// The emulator cannot add a column.
	b.data.Create(b, "crm", crmSchema[:2], [][]any{{1, "a"}, {2, nil}})
	table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Column, Column: "opted_out_since"}})
	b.receipt(b.apply(table, map[string]int64{"a": day1})[0], schemas.Receipt{Changed: true, Rows: 2, Nulls: 1, OptedOut: 1, Flagged: 1, NewlyFlagged: 1, Confirmed: 1})
	b.rows("SELECT row, opted_out_since FROM {crm} ORDER BY row", "1 "+stamp(day1), "2 NULL")
}

func (b *bench) ref(table string) TableRef { return TableRef{b.data.Project, b.data.ID, table} }

func (b *bench) table(o Options) *Table {
	b.Helper()
	if o.Table == "" {
		o.Table = "crm"
	}
	if o.Write.Dataset == (TableRef{}) {
		o.Write.Dataset = b.ref("")
	}
	o.Scope = schemas.EUID
	t, err := New(b.client, o)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// units plans a table for the bench's run.
func (b *bench) units(t *Table) []schemas.Unit {
	b.Helper()
	units, failed, err := t.Plan(b.Context())
	if err != nil || len(failed) > 0 {
		b.Fatalf("plan: %v, %v", failed, err)
	}
	for i := range units {
		units[i].Run = schemas.RunRef{ID: b.run, StartedMS: started.UnixMilli()}
	}
	return units
}

// cells scans a unit.
func (b *bench) cells(t *Table, u schemas.Unit) map[string]int64 {
	b.Helper()
	got := map[string]int64{}
	if err := t.Scan(b.Context(), u, func(c schemas.Cells) error {
		for i, cell := range c.Values {
			if cell == nil {
				got["NULL"] += c.Count(i)
			} else {
				got[string(cell)] += c.Count(i)
			}
		}
		return nil
	}); err != nil {
		b.Fatalf("scan: %v", err)
	}
	return got
}

func since(optedOut map[string]int64) Since {
	return func(cell []byte) (int64, bool) {
		ms, ok := optedOut[string(cell)]
		return ms, ok
	}
}

// apply applies flags to all units of a table.
func (b *bench) apply(t *Table, optedOut map[string]int64) []schemas.Receipt {
	b.Helper()
	var receipts []schemas.Receipt
	for _, u := range b.units(t) {
		r, err := t.Apply(b.Context(), u, since(optedOut), func(schemas.Receipt) error { return nil })
		if err != nil {
			b.Fatalf("apply: %v (%s)", err, schemas.HintOf(err))
		}
		receipts = append(receipts, r)
	}
	return receipts
}

const (
	day1 = int64(1764547200000)
	day2 = int64(1764633600000)
)

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

var crmSchema = bigquery.Schema{
	{Name: "row", Type: bigquery.IntegerFieldType},
	{Name: "euid", Type: bigquery.StringFieldType},
	{Name: "opted_out_since", Type: bigquery.TimestampFieldType},
}

func crmRows() [][]any {
	return [][]any{
		{1, "a", nil}, {2, "a", nil}, {3, "b", nil}, {4, nil, nil}, {5, "c", time.UnixMilli(day2)}, {6, " a", nil}, {7, "d", time.UnixMilli(day1)},
	}
}

func TestColumn(t *testing.T) {
	b := newBench(t)
	b.data.Create(b, "crm", crmSchema, crmRows())
	table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Column, Column: "opted_out_since"}})
	u := b.units(table)[0]
	if got, want := b.cells(table, u), (map[string]int64{"a": 2, "b": 1, "NULL": 1, "c": 1, " a": 1, "d": 1}); !reflect.DeepEqual(got, want) {
		t.Fatalf("cells %v, want %v", got, want)
	}
	optedOut := map[string]int64{"a": day1, "c": day1, " a": day1}
	r := b.apply(table, optedOut)[0]
	b.receipt(r, schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 4, Flagged: 5, NewlyFlagged: 3, MovedEarlier: 1, Kept: 1, Confirmed: 5})
	b.rows("SELECT row, opted_out_since FROM {crm} ORDER BY row",
		"1 "+stamp(day1), "2 "+stamp(day1), "3 NULL", "4 NULL", "5 "+stamp(day1), "6 "+stamp(day1), "7 "+stamp(day1))

	// The same run again adopts what was done; the next one finds nothing to do.
	b.same(b.apply(table, optedOut), r)
	b.run = "20260302T040000.000Z"
	b.receipt(b.apply(table, optedOut)[0], schemas.Receipt{Rows: 7, Nulls: 1, OptedOut: 4, Flagged: 5, Kept: 1, Confirmed: 5})

	// A later time never replaces an earlier one, and nobody's absence clears.
	b.run = "20260303T040000.000Z"
	b.receipt(b.apply(table, map[string]int64{"a": day2})[0], schemas.Receipt{Rows: 7, Nulls: 1, OptedOut: 2, Flagged: 5, Kept: 3, Confirmed: 5})
}

// receipt compares the figures of a receipt.
func (b *bench) receipt(got, want schemas.Receipt) {
	b.Helper()
	for _, s := range []*string{&got.Table, &got.Unit, &got.VersionBefore, &got.VersionAfter, &got.Job, &got.Staged} {
		*s = ""
	}
	got.BytesBefore, got.BytesAfter, got.Billed = 0, 0, 0
	if got != want {
		b.Errorf("receipt %+v\nwant    %+v", got, want)
	}
}

// same compares receipts, but for what the table was when they were made.
func (b *bench) same(got []schemas.Receipt, want ...schemas.Receipt) {
	b.Helper()
	for _, list := range [][]schemas.Receipt{got, want} {
		for i := range list {
			list[i].VersionBefore, list[i].BytesBefore, list[i].BytesAfter = "", 0, 0
		}
	}
	if !slices.Equal(got, want) {
		b.Errorf("again  %+v\nbefore %+v", got, want)
	}
}

// rows compares the result of a query, a line a row.
func (b *bench) rows(sql string, want ...string) {
	b.Helper()
	var got []string
	for _, row := range b.query(sql) {
		got = append(got, strings.Join(row, " "))
	}
	if !slices.Equal(got, want) {
		b.Errorf("%s:\n got %q\nwant %q", sql, got, want)
	}
}

// query runs a query; {name} stands for a table of the bench.
func (b *bench) query(sql string) [][]string {
	b.Helper()
	return b.data.Query(b, sql)
}

func TestSuppression(t *testing.T) {
	b := newBench(t)
	b.data.Create(b, "crm", crmSchema, crmRows())
	table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Suppression, Views: true}})
	optedOut := map[string]int64{"a": day2, " a": day2, "d": day1}
	r := b.apply(table, optedOut)[0]
	b.receipt(r, schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 4, Flagged: 4, NewlyFlagged: 4, Confirmed: 4})
	first := started.Format(time.RFC3339)
	b.rows("SELECT id, scope, opted_out_since, first_flagged_at, last_checked_at, run_id FROM {optsweep_suppression} ORDER BY id",
		" a euid "+stamp(day2)+" "+first+" "+first+" "+b.run, "a euid "+stamp(day2)+" "+first+" "+first+" "+b.run, "d euid "+stamp(day1)+" "+first+" "+first+" "+b.run)
	b.rows("SELECT row FROM {crm_active} ORDER BY row", "3", "4", "5")
	b.rows("SELECT row FROM {crm_suppressed} ORDER BY row", "1", "2", "6", "7")
	b.same(b.apply(table, optedOut), r)

	b.run = "20260302T040000.000Z"
	b.receipt(b.apply(table, optedOut)[0], schemas.Receipt{Rows: 7, Nulls: 1, OptedOut: 4, Flagged: 4, Confirmed: 4})
	b.run = "20260303T040000.000Z"
	b.receipt(b.apply(table, map[string]int64{"a": day1, "d": day2})[0], schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 3, Flagged: 4, MovedEarlier: 2, Kept: 1, Confirmed: 4})
	b.rows("SELECT id, opted_out_since, run_id FROM {optsweep_suppression} ORDER BY id",
		" a "+stamp(day2)+" 20260301T040000.000Z", "a "+stamp(day1)+" 20260303T040000.000Z", "d "+stamp(day1)+" 20260301T040000.000Z")
	b.data.Load(b, "crm", crmSchema, [][]any{{8, "d", nil}, {9, "e", nil}})
	b.rows("SELECT row FROM {crm_active} ORDER BY row", "3", "4", "5", "9")
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	b.data.Create(b, "crm", crmSchema, crmRows())
	table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Remove}})
	optedOut := map[string]int64{"a": day2, "c": day1}
	r := b.apply(table, optedOut)[0]
	b.receipt(r, schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 3, Flagged: 3, NewlyFlagged: 3, Confirmed: 3, Removed: 3})
	b.rows("SELECT row FROM {crm} ORDER BY row", "3", "4", "6", "7")
	b.rows("SELECT row, euid, optsweep_opted_out_since, optsweep_run_id FROM {optsweep_removed_"+b.data.ID+"_crm} ORDER BY row",
		"1 a "+stamp(day2)+" "+b.run, "2 a "+stamp(day2)+" "+b.run, "5 c "+stamp(day1)+" "+b.run)
	b.same(b.apply(table, optedOut), r)
	b.run = "20260302T040000.000Z"
	b.receipt(b.apply(table, optedOut)[0], schemas.Receipt{Rows: 4, Nulls: 1})
}

var listSchema = bigquery.Schema{
	{Name: "row", Type: bigquery.IntegerFieldType},
	{Name: "day", Type: bigquery.DateFieldType},
	{Name: "main", Type: bigquery.StringFieldType},
	{Name: "ids", Type: bigquery.RecordFieldType, Repeated: true, Schema: bigquery.Schema{
		{Name: "kind", Type: bigquery.StringFieldType}, {Name: "value", Type: bigquery.StringFieldType},
	}},
	{Name: "opted_out_since", Type: bigquery.TimestampFieldType},
}

// createList makes a table of lists. The emulator cannot load them.
func (b *bench) createList() {
	b.Helper()
	b.data.Create(b, "crm", listSchema, nil)
	b.query(`INSERT INTO {crm} (row, day, main, ids) VALUES
		(1, DATE '2026-01-01', 'a', [STRUCT('x' AS kind, 'b' AS value), STRUCT('y' AS kind, 'c' AS value)]),
		(2, DATE '2026-01-01', NULL, [STRUCT('x' AS kind, 'a' AS value)]),
		(3, DATE '2026-01-02', 'd', []),
		(4, DATE '2026-01-02', 'd', [STRUCT('x' AS kind, 'c' AS value), STRUCT('x' AS kind, 'a' AS value)]),
		(5, DATE '2026-01-03', 'a', [STRUCT('x' AS kind, CAST(NULL AS STRING) AS value)])`)
}

func TestRepeatedAndSeveralColumns(t *testing.T) {
	for _, c := range []struct {
		name       string
		ids        []string
		partitions []string
		filter     string
		cells      map[string]int64
		flagged    []string
	}{
		{"repeated", []string{"ids[].value"}, nil, "", map[string]int64{"a": 2, "b": 1, "c": 2, "NULL": 1}, []string{"1 " + stamp(day2), "2 " + stamp(day1), "4 " + stamp(day1)}},
		{"several", []string{"main", "ids[].value"}, nil, "", map[string]int64{"a": 4, "b": 1, "c": 2, "d": 2, "NULL": 2},
			[]string{"1 " + stamp(day1), "2 " + stamp(day1), "4 " + stamp(day1), "5 " + stamp(day1)}},
		{"partitions", []string{"main", "ids[].value"}, []string{"day = DATE '2026-01-01'", "day = DATE '2026-01-02' -- and no other"}, "row <> 4",
			map[string]int64{"a": 2, "b": 1, "c": 1, "d": 1, "NULL": 1}, []string{"1 " + stamp(day1), "2 " + stamp(day1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.createList()
			table := b.table(Options{Ref: b.ref("crm"), IDColumns: c.ids, Partitions: c.partitions, Filter: c.filter, Write: Write{Mode: Column, Column: "opted_out_since"}})
			got := map[string]int64{}
			for _, u := range b.units(table) {
				for cell, n := range b.cells(table, u) {
					got[cell] += n
				}
			}
			if !reflect.DeepEqual(got, c.cells) {
				t.Errorf("cells %v, want %v", got, c.cells)
			}
			optedOut := map[string]int64{"a": day1, "c": day2}
			first := b.apply(table, optedOut)
			b.rows("SELECT row, opted_out_since FROM {crm} WHERE opted_out_since IS NOT NULL ORDER BY row", c.flagged...)
			b.same(b.apply(table, optedOut), first...)

			// Beside it, as a list and as removal.
			beside := b.table(Options{Ref: b.ref("crm"), IDColumns: c.ids, Partitions: c.partitions, Filter: c.filter, Write: Write{Mode: Suppression, Views: true}})
			b.apply(beside, optedOut)
			var rows []string
			for _, f := range c.flagged {
				rows = append(rows, f[:1])
			}
			b.rows("SELECT row FROM {crm_suppressed} ORDER BY row", rows...)
			all := "SELECT row FROM {crm} ORDER BY row"
			if c.filter != "" {
				all = "SELECT row FROM {crm} WHERE row IN (1, 2, 3) ORDER BY row"
			}
			var active []string
			for _, row := range b.query(all) {
				if !slices.Contains(rows, row[0]) {
					active = append(active, row[0])
				}
			}
			b.rows("SELECT row FROM {crm_active} ORDER BY row", active...)
			out := b.table(Options{Ref: b.ref("crm"), IDColumns: c.ids, Partitions: c.partitions, Filter: c.filter, Write: Write{Mode: Remove}})
			b.apply(out, optedOut)
			for _, row := range rows {
				b.rows("SELECT row FROM {crm} WHERE row = " + row)
			}
		})
	}
}

func TestQueryAndView(t *testing.T) {
	b := newBench(t)
	b.data.Create(b, "crm", crmSchema, crmRows())
	query := b.table(Options{Query: "SELECT euid AS id FROM " + b.ref("crm").sql() + " WHERE row > 1 -- not the first", IDColumns: []string{"id"}, Write: Write{Mode: Suppression, Views: true}})
	b.receipt(b.apply(query, map[string]int64{"a": day1})[0], schemas.Receipt{Changed: true, Rows: 6, Nulls: 1, OptedOut: 1, Flagged: 1, NewlyFlagged: 1, Confirmed: 1})
	b.data.CreateTable(b, "v", &bigquery.TableMetadata{ViewQuery: "SELECT * FROM " + b.ref("crm").sql()})
	view := b.table(Options{Ref: b.ref("v"), IDColumns: []string{"euid"}, Write: Write{Mode: Suppression, Views: true}})
	b.receipt(b.apply(view, map[string]int64{"a": day1, "b": day1})[0], schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 3, Flagged: 3, NewlyFlagged: 1, Confirmed: 3})
	b.rows("SELECT row FROM {v_active} ORDER BY row", "4", "5", "6", "7")
	for _, mode := range []Mode{Column, Remove} {
		wrong := b.table(Options{Ref: b.ref("v"), IDColumns: []string{"euid"}, Write: Write{Mode: mode, Column: "opted_out_since"}})
		if _, _, err := wrong.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "is a view") {
			t.Errorf("%s of a view: %v", mode, err)
		}
	}
}

func TestClear(t *testing.T) {
	for _, mode := range []Mode{Column, Suppression} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t)
			b.data.Create(b, "crm", crmSchema, crmRows())
			table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: mode, Column: "opted_out_since"}})
			b.apply(table, map[string]int64{"a": day1, "b": day1})
			u := b.units(table)[0]
			u.Run = schemas.RunRef{}
			r, err := table.Clear(t.Context(), u, func(cell []byte) bool { return string(cell) == "a" }, nil, func(schemas.Receipt) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			want := schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, Flagged: 3, Kept: 3, Cleared: 2, Confirmed: 3}
			if mode == Suppression {
				want.Flagged, want.Kept, want.Confirmed = 1, 1, 1
				b.rows("SELECT id FROM {optsweep_suppression}", "b")
			} else {
				b.rows("SELECT row FROM {crm} WHERE opted_out_since IS NOT NULL ORDER BY row", "3", "5", "7")
			}
			b.receipt(r, want)
		})
	}
}
