package bigquery

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/bigquery"

	"optsweep/connectors/bigquery/bqtest"
	"optsweep/schemas"
)

// testRun is a run of some batches and quarantined rows.
type testRun struct {
	job     string
	ref     schemas.RunRef
	seq     int64
	batches int64
	odd     string // text in its quarantine
}

func (r testRun) rows(t schemas.RunTable, each func([]any) error) error {
	n := int64(0)
	switch t.Name {
	case schemas.RunsTable, schemas.TablesTable:
		n = 1
	case schemas.BatchesTable:
		n = r.batches
	case schemas.QuarantineTable:
		n = 2
	}
	for i := range n {
		values := map[string]any{"job": r.job, "run_id": r.ref.ID, t.Partition: r.ref.StartedMS}
		more := map[string]any{"ledger_seq": r.seq, "batch": i, "unit": r.odd, "row_index": i, "elapsed_seconds": 1.25, "dry_run": true, "ids_distinct": int64(3)}
		for _, c := range t.Columns {
			v, ok := more[c.Name]
			if _, set := values[c.Name]; set || !ok && c.Nullable {
				continue
			}
			if !ok {
				v = map[schemas.ColumnType]any{
					schemas.StringColumn: "x", schemas.Int64Column: int64(1), schemas.Float64Column: 0.5, schemas.BoolColumn: false, schemas.TimestampColumn: day1,
				}[c.Type]
			}
			values[c.Name] = v
		}
		row, err := t.Row(values)
		if err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) publish(r testRun) error {
	return b.client.PublishRun(b.Context(), b.ref(""), r.job, r.ref, r.rows)
}

func (b *bench) mustPublish(r testRun) {
	b.Helper()
	if err := b.publish(r); err != nil {
		b.Fatalf("publish: %v (%s)", err, schemas.HintOf(err))
	}
}

// dump is what the run tables hold of the columns that testRun differs in.
func (b *bench) dump() []string {
	b.Helper()
	var lines []string
	for _, row := range b.query(`SELECT 'run', run_id, started_at, CAST(ledger_seq AS STRING), CAST(dry_run AS STRING), CAST(elapsed_seconds AS STRING) FROM {optsweep_runs}
UNION ALL SELECT 'table', run_id, run_started_at, status, '', '' FROM {optsweep_tables}
UNION ALL SELECT 'batch', run_id, run_started_at, CAST(batch AS STRING), digest, '' FROM {optsweep_batches}
UNION ALL SELECT 'quarantine', run_id, run_started_at, unit, CAST(row_index AS STRING), pseudonym FROM {optsweep_quarantine}
UNION ALL SELECT 'optout', run_id, run_started_at, '', '', '' FROM {optsweep_optouts}`) {
		lines = append(lines, strings.Join(row, "|"))
	}
	slices.Sort(lines)
	return lines
}

const odd = "a'b\\c\n\"d\" é"

func firstRun() testRun {
	return testRun{job: "crm's", ref: schemas.RunRef{ID: "20260301T040000.000Z", StartedMS: started.UnixMilli()}, seq: 9, batches: 3, odd: odd}
}

// want is the dump of a run.
func (r testRun) want() []string {
	at := stamp(r.ref.StartedMS)
	lines := []string{fmt.Sprintf("run|%s|%s|%d|true|1.25", r.ref.ID, at, r.seq), fmt.Sprintf("table|%s|%s|x||", r.ref.ID, at)}
	for i := range r.batches {
		lines = append(lines, fmt.Sprintf("batch|%s|%s|%d|x|", r.ref.ID, at, i))
	}
	for i := range 2 {
		lines = append(lines, fmt.Sprintf("quarantine|%s|%s|%s|%d|NULL", r.ref.ID, at, r.odd, i))
	}
	return lines
}

func wanted(runs ...testRun) (lines []string) {
	for _, r := range runs {
		lines = append(lines, r.want()...)
	}
	slices.Sort(lines)
	return lines
}

func (b *bench) holds(what string, runs ...testRun) {
	b.Helper()
	if got, want := b.dump(), wanted(runs...); !slices.Equal(got, want) {
		b.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestPublishRun(t *testing.T) {
	b := newBench(t)
	dataset := b.ref("")
	if runs, err := b.client.Published(t.Context(), dataset, "crm's"); err != nil || len(runs) > 0 {
		t.Fatalf("before the first: %v, %v", runs, err)
	}
	first, other := firstRun(), firstRun()
	other.ref, other.batches, other.odd = schemas.RunRef{ID: "20260302T040000.000Z", StartedMS: started.UnixMilli() + 86_400_000}, 0, "u"
	b.mustPublish(first)
	b.mustPublish(other)
	b.mustPublish(first)
	b.holds("published", first, other)

	// A run that went on replaces what was told of it, also when it comes back
	// to what it was: an adopted job does not prove that its rows are there.
	longer := first
	longer.seq, longer.batches = 12, 5
	b.mustPublish(longer)
	b.holds("a run that went on", longer, other)
	b.mustPublish(first)
	b.holds("what it was", first, other)
	runs, err := b.client.Published(t.Context(), dataset, "crm's")
	if want := map[string]int64{first.ref.ID: 9, other.ref.ID: 9}; err != nil || !maps.Equal(runs, want) {
		t.Errorf("published are %v, %v", runs, err)
	}
	for _, table := range schemas.RunTables() {
		m, err := b.data.Client.Dataset(b.data.ID).Table(table.Name).Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.TimePartitioning == nil || m.TimePartitioning.Field != table.Partition || m.Clustering == nil || !slices.Equal(m.Clustering.Fields, table.Cluster) || len(m.Schema) != len(table.Columns) {
			t.Errorf("%s: %+v, %+v, %d columns", table.Name, m.TimePartitioning, m.Clustering, len(m.Schema))
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.client.Temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Wherever the process dies, a run is there as a whole or not at all, and the
// same call ends the same.
func TestPublishRunAfterCrash(t *testing.T) {
	for name, last := range map[string]func(bqtest.Call) bool{
		"table": func(c bqtest.Call) bool {
			return c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/tables") && c.N == 3
		},
		"load":      func(c bqtest.Call) bool { return strings.HasPrefix(c.Path, "/upload/") && c.N == 2 },
		"statement": func(c bqtest.Call) bool { id, _ := c.Inserts(); return strings.Contains(id, "_publish_") },
		"answer":    func(c bqtest.Call) bool { return strings.Contains(c.Path, "_publish_") },
	} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s done %t", name, done), func(t *testing.T) {
				em := bqtest.New(t)
				var dead, again atomic.Bool
				endpoint := em.Hooked(t, func(c bqtest.Call) *bqtest.Response {
					switch {
					case again.Load():
						return nil
					case dead.Load() || !done && last(c):
						dead.Store(true)
						return bqtest.Fail(http.StatusForbidden, "accessDenied", "dead")
					case last(c):
						dead.Store(true)
						return bqtest.FailStored(http.StatusForbidden, "accessDenied", "dead")
					}
					return nil
				})
				b := newBenchAt(t, em, endpoint)
				run := firstRun()
				run.batches = 1
				if err := b.publish(run); err == nil || !dead.Load() {
					t.Fatalf("dead: %t, %v", dead.Load(), err)
				}
				again.Store(true)
				if name != "table" {
					here := b.dump()
					if published := name == "answer" || name == "statement" && done; published && !slices.Equal(here, wanted(run)) || !published && len(here) > 0 {
						t.Errorf("there are %q", here)
					}
				}
				b.mustPublish(run)
				b.holds("in the end", run)
			})
		}
	}
}

// Only what a newer version has added is added; what an even newer one has
// added stays.
func TestPublishRunAddsColumns(t *testing.T) {
	em := bqtest.New(t)
	var patches []string
	endpoint := em.Hooked(t, func(c bqtest.Call) *bqtest.Response {
		switch {
		case c.Method == http.MethodGet && strings.HasSuffix(c.Path, "/tables/"+schemas.QuarantineTable):
			return &bqtest.Response{Forward: true, Edit: func(status int, body []byte) (int, []byte) {
				var m map[string]any
				if json.Unmarshal(body, &m) != nil {
					return status, body
				}
				m["etag"] = fmt.Sprintf("etag-%d", len(patches))
				body, _ = json.Marshal(m)
				return status, body
			}}
		case c.Method == http.MethodPatch && strings.HasSuffix(c.Path, "/tables/"+schemas.QuarantineTable):
			if patches = append(patches, string(c.Body)); len(patches) == 1 {
				return bqtest.Fail(http.StatusPreconditionFailed, "conditionNotMet", "changed meanwhile")
			}
		}
		return nil
	})
	b := newBenchAt(t, em, endpoint)
	table, err := schemas.RunTableNamed(schemas.QuarantineTable)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := runSchema(table)
	if err != nil {
		t.Fatal(err)
	}
	old := append(slices.Clone(schema[:len(schema)-1]), &bigquery.FieldSchema{Name: "from_the_future", Type: bigquery.StringFieldType})
	b.data.CreateTable(t, schemas.QuarantineTable, &bigquery.TableMetadata{Schema: old})
	p := publication{c: b.client, dataset: b.ref("")}
	for range 2 {
		if err := p.ensure(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	if len(patches) != 2 || !strings.Contains(patches[1], `"name":"pseudonym"`) || !strings.Contains(patches[1], `"name":"from_the_future"`) {
		t.Errorf("%d patches: %q", len(patches), patches)
	}

	for _, wrong := range []bigquery.Schema{schema[1:], append(bigquery.Schema{{Name: "job", Type: bigquery.IntegerFieldType}}, schema[1:]...)} {
		if wider, err := widened(b.ref("x"), wrong, schema); err == nil {
			t.Errorf("widened to %v", wider)
		}
	}
}

func TestPublishRunRefusesRowsOfAnother(t *testing.T) {
	c := &Client{Connection: Connection{Temp: t.TempDir()}}
	for name, change := range map[string]func(*testRun){
		"job": func(r *testRun) { r.job = "x" }, "run": func(r *testRun) { r.ref.ID = "x" }, "start": func(r *testRun) { r.ref.StartedMS++ },
	} {
		is := firstRun()
		change(&is)
		if err := c.PublishRun(t.Context(), TableRef{}, firstRun().job, firstRun().ref, is.rows); schemas.ClassOf(err) != schemas.Failed || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := func(schemas.RunTable, func([]any) error) error { return nil }
	if err := c.PublishRun(t.Context(), TableRef{}, "j", firstRun().ref, none); err == nil {
		t.Error("a run without a row was published")
	}
	if left, _ := os.ReadDir(c.Temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The emulator cannot show that all of a run appears at once; the statement
// can.
func TestSwapIsOneTransaction(t *testing.T) {
	dataset := TableRef{Project: "p", Dataset: "d"}
	staged := dataset.In("s")
	run := schemas.RunRef{ID: "r'1", StartedMS: 5}
	tables := []schemas.RunTable{
		{Name: "a", Partition: "run_started_at"},
		{Name: "b", Partition: "started_at", Columns: []schemas.RunColumn{{Name: "job"}, {Name: "x"}}},
	}
	got := swapAll([]swap{
		{table: tables[0], into: dataset.In("a"), job: "j", run: run},
		{table: tables[1], into: dataset.In("b"), from: &staged, job: "j", run: run},
	})
	want := "BEGIN TRANSACTION;\n" +
		"DELETE FROM `p`.`d`.`a`\nWHERE job = 'j' AND run_id = 'r\\'1' AND `run_started_at` = TIMESTAMP_MILLIS(5);\n" +
		"DELETE FROM `p`.`d`.`b`\nWHERE job = 'j' AND run_id = 'r\\'1' AND `started_at` = TIMESTAMP_MILLIS(5);\n" +
		"INSERT INTO `p`.`d`.`b` (`job`, `x`)\nSELECT `job`, `x`\nFROM `p`.`d`.`s`;\n" +
		"COMMIT TRANSACTION;"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
