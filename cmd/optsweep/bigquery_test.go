package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"

	"optsweep/cmd/optsweep/internal/cli"
	"optsweep/connectors/bigquery/bqtest"
	"optsweep/schemas"
)

// warehouse is a demo whose ids also stand in tables of BigQuery.
type warehouse struct {
	*privacy
	data   *bqtest.Dataset
	ids    []schemas.ID
	listed map[schemas.ID]bool
}

// bigQueryJob treats three tables of BigQuery, one in each mode, and the demo's
// Parquet files.
const bigQueryJob = `version: 1
job: warehouse
scope: euid
environment: production
operator: {kind: public, url: "URL", api_key: {file: api_key}, client_secret: {file: client_secret}}
workspace: ws
limits: {max_new_flags: 100%, max_quarantined: 5%}
bigquery: {project: PROJECT, location: EU, staging: PROJECT.DATASET, runs: PROJECT.DATASET, endpoint: "ENDPOINT", grpc_endpoint: "GRPC", insecure: true}
tables:
  - name: audience
    bigquery: {table: PROJECT.DATASET.audience, id_column: euid}
    write: {mode: suppression, dataset: PROJECT.DATASET}
  - name: crm
    bigquery: {table: PROJECT.DATASET.crm, id_column: euid, filter: "row >= 0"}
    write: {mode: column}
  - name: old
    bigquery: {table: PROJECT.DATASET.old, id_column: euid}
    write: {mode: remove, dataset: PROJECT.DATASET}
  - name: files
    parquet: {path: "data/*.parquet", id_column: euid}
    write: {mode: column}
`

func newWarehouse(t *testing.T) *warehouse {
	em := bqtest.New(t)
	w := &warehouse{privacy: newPrivacy(t), data: em.Dataset(t)}
	t.Cleanup(w.serve(""))
	var err error
	if w.ids, err = demoIDs(w.dir); err != nil {
		t.Fatal(err)
	}
	if w.listed, err = optedOutOf(w.dir, w.ids); err != nil {
		t.Fatal(err)
	}
	schema := bigquery.Schema{
		{Name: "row", Type: bigquery.IntegerFieldType}, {Name: "euid", Type: bigquery.StringFieldType},
		{Name: "opted_out_since", Type: bigquery.TimestampFieldType}, // the emulator cannot add it
	}
	w.data.Create(t, "audience", schema, w.rows(0, 250))
	w.data.Create(t, "crm", schema, w.rows(150, 400))
	w.data.Create(t, "old", schema, w.rows(60, 150))
	w.job("warehouse.yaml")
	w.write("warehouse.yaml", strings.NewReplacer("URL", "http://"+w.env["ADDRESS"], "PROJECT", w.data.Project, "DATASET", w.data.ID,
		"ENDPOINT", em.Endpoint(), "GRPC", em.GRPCEndpoint()).Replace(bigQueryJob))
	return w
}

// rows are rows of a table: the demo's ids from one to another, every tenth
// twice, with NULLs and cells that are no ids among them.
func (w *warehouse) rows(from, to int) (rows [][]any) {
	add := func(cell any) { rows = append(rows, []any{len(rows), cell, nil}) }
	for i := from; i < to; i++ {
		text := string(w.ids[i].AppendText(nil))
		add(text)
		switch i % 50 {
		case 0, 10, 20, 30, 40:
			add(text)
		case 5:
			add(nil)
		case 15:
			add("no id " + fmt.Sprint(i))
		case 25:
			add(text + "\n") // the white space around it is ignored
		}
	}
	return rows
}

// command runs a command and returns its exit code and what it printed.
func (w *warehouse) command(args ...string) (code int, stdout string) {
	w.t.Helper()
	out, log := new(output), new(output)
	env := maps.Clone(w.env)
	env["OPTSWEEP_PROGRESS"] = "none"
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	code = cli.Run(ctx, append(args, "--config", w.path("warehouse.yaml")), cli.Surroundings{
		Stdin: strings.NewReader(""), Stdout: out, Stderr: log, LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	w.t.Logf("$ optsweep %s\n%s%sexit code %d", strings.Join(args, " "), out.Bytes(), log.Bytes(), code)
	for _, text := range [][]byte{out.Bytes(), log.Bytes()} {
		if what := w.secrets.find(text); what != "" {
			w.t.Errorf("%s shows %s", strings.Join(args, " "), what)
		}
	}
	return code, string(out.Bytes())
}

// reconcile runs the job, which must succeed, and returns its report.
func (w *warehouse) reconcile(args ...string) (rep schemas.Report) {
	w.t.Helper()
	code, text := w.command(append([]string{"run", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &rep); code != 0 || err != nil {
		w.t.Fatalf("exit code %d, %v", code, err)
	}
	return rep
}

// wrong counts the rows of a table whose flag is not what the opt-out log says
// of their id. query gives euid and flagged.
func (w *warehouse) wrong(query string) (rows, flagged, wrong int) {
	w.t.Helper()
	listed := map[string]bool{}
	for id := range w.listed {
		listed[string(id.AppendText(nil))] = true
	}
	for _, row := range w.data.Query(w.t, query) {
		rows++
		if row[1] == "true" {
			flagged++
		}
		if listed[strings.TrimSpace(row[0])] != (row[1] == "true") {
			wrong++
		}
	}
	return rows, flagged, wrong
}

// The whole job over BigQuery: three tables, each in another mode, and a
// Parquet data set, through an operator over HTTP. Each id is asked once. What
// is in the tables afterwards is what the opt-out log says, and a second run
// changes nothing but flags that were lost.
func TestBigQueryJob(t *testing.T) {
	w := newWarehouse(t)
	before := len(w.rows(60, 150))
	if code, _ := w.command("init"); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	if code, text := w.command("doctor"); code != 0 || strings.Count(text, "\ntable ") != 3 {
		t.Errorf("doctor: exit code %d", code)
	}
	if code, _ := w.command("plan", "--out", w.path("plan.json")); code != 0 {
		t.Fatalf("plan: exit code %d", code)
	}
	w.reconcile("--dry-run")
	if rows, flagged, _ := w.wrong("SELECT euid, opted_out_since IS NOT NULL FROM {crm}"); flagged != 0 || rows != len(w.rows(150, 400)) {
		t.Errorf("after the dry run: %d rows, %d flagged", rows, flagged)
	}

	rep := w.reconcile()
	if rep.Status != schemas.StatusReconciled || rep.IDs.Asked != rep.IDs.Distinct {
		t.Errorf("report %+v", rep)
	}
	rows, flagged, wrong := w.wrong("SELECT euid, opted_out_since IS NOT NULL FROM {crm}")
	if rows != len(w.rows(150, 400)) || flagged == 0 || wrong != 0 {
		t.Errorf("crm: %d rows, %d flagged, %d of them wrong", rows, flagged, wrong)
	}
	activeRows, _, wrongActive := w.wrong("SELECT euid, FALSE FROM {audience_active}")
	suppressed, _, wrongSuppressed := w.wrong("SELECT euid, TRUE FROM {audience_suppressed}")
	if activeRows+suppressed != len(w.rows(0, 250)) || suppressed == 0 || wrongActive+wrongSuppressed != 0 {
		t.Errorf("audience: %d active (%d wrong), %d suppressed (%d wrong)", activeRows, wrongActive, suppressed, wrongSuppressed)
	}
	left, _, wrongLeft := w.wrong("SELECT euid, FALSE FROM {old}")
	removed, _, wrongRemoved := w.wrong("SELECT euid, TRUE FROM {optsweep_removed_" + w.data.ID + "_old}")
	if left+removed != before || removed == 0 || wrongLeft+wrongRemoved != 0 {
		t.Errorf("old: %d rows left (%d wrong), %d removed (%d wrong)", left, wrongLeft, removed, wrongRemoved)
	}

	for _, table := range []string{"crm", "audience", "old"} {
		if code, text := w.command("gate", "--table", table); code != 0 || !strings.Contains(text, "0 opted-out, 0 stale") {
			t.Errorf("gate of %s: exit code %d", table, code)
		}
	}
	content := func() string {
		return fmt.Sprint(w.data.Query(t, "SELECT * FROM {crm} ORDER BY row"), w.data.Query(t, "SELECT * FROM {optsweep_suppression} ORDER BY id"), w.data.Query(t, "SELECT * FROM {old} ORDER BY row"))
	}
	after := content()
	w.data.Query(t, "UPDATE {crm} SET opted_out_since = NULL WHERE row < 150")
	if code, text := w.command("gate", "--table", "crm"); code != 7 || strings.Contains(text, " 0 opted-out") {
		t.Errorf("gate of a table that lost flags: exit code %d", code)
	}
	for i, table := range w.reconcile().Tables {
		if table.RowsNew != table.RowsReapplied || (table.RowsNew > 0) != (i == 1) || table.RowsEarlier != 0 {
			t.Errorf("again, flags that were lost are back before anything is asked, and nothing else changes: %+v", table)
		}
	}
	if content() != after {
		t.Error("the second run left the tables different")
	}
	published := w.data.Query(t, "SELECT r.status, r.dry_run, COUNT(*) FROM {optsweep_runs} AS r JOIN {optsweep_tables} AS t ON t.run_id = r.run_id GROUP BY r.status, r.dry_run, r.run_id ORDER BY r.run_id")
	if got, want := fmt.Sprint(published), "[[previewed true 4] [reconciled false 4] [reconciled false 4]]"; got != want {
		t.Errorf("run tables hold %s, want %s", got, want)
	}
	if code, text := w.command("publish"); code != 0 || !strings.Contains(text, "published 0 runs") {
		t.Errorf("publish: exit code %d, %s", code, text)
	}
	if code, _ := w.command("verify"); code != 0 {
		t.Errorf("verify: exit code %d", code)
	}
}
