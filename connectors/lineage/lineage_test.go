package lineage

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

func start() schemas.RunStart {
	at := time.Date(2026, 3, 4, 4, 0, 7, 0, time.UTC)
	return schemas.RunStart{
		Workspace: strings.Repeat("ab", 32), Run: "20260304T040007.000Z", At: at, Job: "crm-audiences", ToolVersion: "v1.2.3 (x)", Scheduled: at.Add(-7 * time.Second),
		Tables: []schemas.Dataset{
			{Table: "crm", Namespace: "file", Name: "/data/crm", IDColumn: "euid", Output: schemas.DatasetName{Namespace: "file", Name: "/data/crm"}},
			{Table: "segments", Namespace: "bigquery", Name: "p.ads.segments", IDColumn: "ids[].value", Output: schemas.DatasetName{Namespace: "bigquery", Name: "p.optsweep.s"}},
		},
	}
}

func end(class, failure string) schemas.RunEnd {
	s := start()
	return schemas.RunEnd{
		RunStart: s, EndedAt: s.At.Add(time.Minute), Class: class, Failure: failure,
		Report: schemas.Report{Run: s.Run, Status: schemas.StatusReconciled, IDs: schemas.Checked{Distinct: 1000}, Tables: []schemas.TableReport{
			{TableExtracted: schemas.TableExtracted{Table: "crm", Rows: 1500, Nulls: 100}, RowsNew: 40, RowsEarlier: 2, BytesBefore: 100000, BytesAfter: 101000},
			{TableExtracted: schemas.TableExtracted{Table: "segments", Rows: 10}},
		}},
	}
}

func validator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("testdata/runevent.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines gives the events of a file, each of which must be valid.
func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	s := validator(t)
	for line := range strings.Lines(string(data)) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		all = append(all, v.(map[string]any))
	}
	return all
}

func TestEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lineage.ndjson")
	m := New(Options{File: path, Namespace: "prod/eu"})
	killed := end("", "the process ended before the run did")
	killed.Killed = true
	ends := []schemas.RunEnd{
		end("", ""), end("partial", "1 of the units could not be reconciled"), end("cancelled", "run was cancelled"), killed,
		{RunStart: start(), Class: "usage", Failure: "the run could not begin"},
	}
	if err := m.Started(t.Context(), start()); err != nil {
		t.Fatal(err)
	}
	for _, e := range ends {
		if err := m.Ended(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	all := lines(t, path)
	var types []string
	for _, e := range all {
		types = append(types, e["eventType"].(string))
		if id := e["run"].(map[string]any)["runId"]; id != RunID(start()) {
			t.Errorf("run id %v", id)
		}
	}
	if got := strings.Join(types, " "); got != "START COMPLETE FAIL ABORT ABORT" {
		t.Errorf("events %s", got)
	}
	pretty, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	pretty = append(pretty, '\n')
	const golden = "testdata/events.json"
	if *update {
		if err := os.WriteFile(golden, pretty, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty, want) {
		t.Errorf("got %s", pretty)
	}
}

// Distinct ids are counted over all tables: they are those of a table only if
// it is the only one.
func TestDistinctCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lineage.ndjson")
	e := end("cancelled", "cancelled before anything was known of ids and flags")
	e.Tables, e.Report.IDs.Distinct, e.Report.Tables[0].Status = e.Tables[:1], 0, schemas.StatusFailed
	if err := New(Options{File: path, Namespace: "n"}).Ended(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), "distinctCount") || strings.Contains(string(data), "outputStatistics") {
		t.Errorf("%s, %v", data, err)
	}
	e = end("", "")
	e.Tables = e.Tables[:1]
	if err := New(Options{File: path, Namespace: "n"}).Ended(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	lines(t, path)
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), `"columnMetrics":{"euid":{"nullCount":100,"distinctCount":1000}}`) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestRunID(t *testing.T) {
	a, b, c, d := start(), start(), start(), start()
	b.Attempt, c.Run, d.Workspace = 1, "20260305T040007.000Z", "other"
	seen := map[string]bool{}
	for _, s := range []schemas.RunStart{a, b, c, d} {
		id := RunID(s)
		if len(id) != 36 || id[14] != '5' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] || id != RunID(s) {
			t.Errorf("id %s", id)
		}
		seen[id] = true
	}
}

func TestHTTP(t *testing.T) {
	var path, auth string
	var body []byte
	status := http.StatusCreated
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, auth = r.URL.Path, r.Header.Get("Authorization")
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
	}))
	defer s.Close()
	sender := delivery.New(delivery.Options{Attempts: 1})
	defer sender.Close()
	file := filepath.Join(t.TempDir(), "lineage.ndjson")
	o := Options{URL: schemas.NewSecret(s.URL + "/"), APIKey: schemas.NewSecret("k3y"), Namespace: "n", Sender: sender, File: file}
	if err := New(o).Started(t.Context(), start()); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(file)
	if err != nil || path != "/api/v1/lineage" || auth != "Bearer k3y" || string(body)+"\n" != string(line) {
		t.Errorf("%s, %s, %s, %v", path, auth, body, err)
	}
	o.URL, o.APIKey = schemas.NewSecret(s.URL+"/own/path"), schemas.Secret{}
	if err := New(o).Started(t.Context(), start()); err != nil || path != "/own/path" || auth != "" {
		t.Errorf("%s, %s, %v", path, auth, err)
	}
	// One place that cannot be reached does not keep the other from its event.
	status = http.StatusBadRequest
	o.File = filepath.Join(file, "x")
	if err := New(o).Started(t.Context(), start()); err == nil || !strings.Contains(err.Error(), "status 400") || !strings.Contains(err.Error(), "x") {
		t.Errorf("got %v", err)
	}
}

// The schema finds what is wrong, or it proves nothing.
func TestSchemaRefuses(t *testing.T) {
	s := validator(t)
	m := New(Options{Namespace: "n"})
	for name, change := range map[string]func(*event){
		"no run id":     func(e *event) { e.Run.ID = "" },
		"no time":       func(e *event) { e.Time = "yesterday" },
		"type":          func(e *event) { e.Type = "DONE" },
		"no job":        func(e *event) { e.Job.Name = "" },
		"schema":        func(e *event) { e.SchemaURL = "https://openlineage.io/spec/1-0-0/OpenLineage.json" },
		"facet":         func(e *event) { e.Run.Facets["errorMessage"] = errorMessage{Message: "m"} },
		"unknown facet": func(e *event) { e.Run.Facets["other"] = e.base("1-0-0", "OtherRunFacet") },
		"data set":      func(e *event) { e.Inputs = append(e.Inputs, input{}) },
	} {
		e := m.event(start(), "START", start().At)
		valid := func() error {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			return s.Validate(v)
		}
		if err := valid(); err != nil {
			t.Fatal(err)
		}
		change(e)
		if valid() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
