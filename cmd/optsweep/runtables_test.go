package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"optsweep/jobs/ledger"
	"optsweep/jobs/runtables"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/queries"
)

// exitsWith runs optsweep and wants that exit code.
func exitsWith(t *testing.T, code int, args ...string) []byte {
	t.Helper()
	var out, log bytes.Buffer
	cmd := program(t.Context(), t, args...)
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if got := cmd.ProcessState.ExitCode(); err != nil && !errors.As(err, &exit) || got != code {
		t.Fatalf("%v: exit code %d, want %d: %v\n%s%s", args, got, code, err, out.Bytes(), log.Bytes())
	}
	return out.Bytes()
}

// The run tables of real runs of all kinds, as files. Their rows fit the
// published JSON Schemas. With OPTSWEEP_RUNTABLES_OUT all that
// testdata/runtables/crossread.py needs is left in that folder: the files in
// tables, the rows they were made of in rows, the reports of the runs, and the
// queries.
func TestRunTablesOfRealRuns(t *testing.T) {
	out := os.Getenv("OPTSWEEP_RUNTABLES_OUT")
	if out == "" {
		out = t.TempDir()
	}
	dir := filepath.Join(t.TempDir(), "d")
	config := filepath.Join(dir, "optsweep.yaml")
	exitsWith(t, 0, "demo", "--rows", "6000", "--dir", dir)
	exitsWith(t, 0, "suppress", "import", "--config", config, "--source", "form", "--basis", "form of the site", "--format", "csv",
		"--id-column", "id", "--since", "2026-05-01", ownListOf(t, dir))
	exitsWith(t, 0, "run", "--config", config)
	broken := filepath.Join(dir, "data", "broken.parquet")
	if err := os.WriteFile(broken, []byte("PAR1 no PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	exitsWith(t, 3, "run", "--config", config)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	exitsWith(t, 0, "run", "--config", config, "--dry-run")
	exitsWith(t, 0, "run", "--config", config, "--offline")
	exitsWith(t, 0, "publish", "--config", config, "--out", filepath.Join(out, "tables"))

	for _, folder := range []string{"rows", "reports", "queries"} {
		if err := os.MkdirAll(filepath.Join(out, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layout := sweep.Layout(filepath.Join(dir, "workspace"))
	rows := map[string][]map[string]any{}
	runs := 0
	if _, err := ledger.Runs(layout.Ledger(), func(r ledger.Run) error {
		runs++
		text := exitsWith(t, 0, "report", "--config", config, "--format", "json", "--run", r.ID)
		if err := os.WriteFile(filepath.Join(out, "reports", r.ID+".json"), text, 0o644); err != nil {
			return err
		}
		for _, table := range schemas.RunTables() {
			if notes, err := runtables.Rows(t.Context(), layout, r, table, func(row []any) error {
				named := map[string]any{}
				for i, c := range table.Columns {
					named[c.Name] = row[i]
				}
				rows[table.Name] = append(rows[table.Name], named)
				return nil
			}); err != nil || len(notes) > 0 {
				return fmt.Errorf("%v, %w", notes, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.RunTables() {
		files, err := filepath.Glob(filepath.Join(out, "tables", table.Name, "demo_*.parquet"))
		if err != nil || runs != 6 || len(files) != runs || len(rows[table.Name]) == 0 {
			t.Errorf("%s has %d files and %d rows of %d runs (%v)", table.Name, len(files), len(rows[table.Name]), runs, err)
		}
		fitsSchema(t, table, rows[table.Name])
		data, err := json.Marshal(rows[table.Name])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, "rows", table.Name+".json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := queries.All()
	if err != nil {
		t.Fatal(err)
	}
	views, err := queries.DuckDBViews()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range append(all, queries.Query{Name: "views", DuckDB: views}) {
		if err := os.WriteFile(filepath.Join(out, "queries", q.Name+".sql"), []byte(q.DuckDB), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// ownListOf writes a list of ids of a demo's data: three that the operator does
// not list, and two that it does.
func ownListOf(t *testing.T, dir string) (path string) {
	t.Helper()
	ids, err := demoIDs(dir)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := optedOutOf(dir, ids)
	if err != nil {
		t.Fatal(err)
	}
	text, left := "id\n", map[bool]int{false: 3, true: 2}
	for _, id := range ids {
		if left[listed[id]] > 0 {
			left[listed[id]]--
			text += string(id.AppendText(nil)) + "\n"
		}
	}
	path = filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fitsSchema validates rows with the table's published JSON Schema, which must
// refuse a row of another type, too.
func fitsSchema(t *testing.T, table schemas.RunTable, rows []map[string]any) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "..", "schemas", "runtables", table.Name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(table.Name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(table.Name)
	if err != nil {
		t.Fatal(err)
	}
	validate := func(row map[string]any) error {
		object := map[string]any{}
		for _, column := range table.Columns {
			object[column.Name] = row[column.Name]
			if ms, ok := row[column.Name].(int64); ok && column.Type == schemas.TimestampColumn {
				object[column.Name] = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
			}
		}
		data, err := json.Marshal(object)
		if err != nil {
			return err
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return schema.Validate(instance)
	}
	for _, row := range rows {
		if err := validate(row); err != nil {
			t.Fatalf("%s: %v", table.Name, err)
		}
	}
	for _, column := range table.Columns {
		was := rows[0][column.Name]
		rows[0][column.Name] = []string{"no value"}
		if err := validate(rows[0]); err == nil || !strings.Contains(err.Error(), column.Name) {
			t.Errorf("%s: the schema takes anything for %s", table.Name, column.Name)
		}
		rows[0][column.Name] = was
	}
}
