package tracing

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

func end() schemas.RunEnd {
	at := time.Date(2026, 3, 4, 4, 0, 0, 0, time.UTC)
	return schemas.RunEnd{
		RunStart: schemas.RunStart{Workspace: "w", Run: "20260304T040000.000Z", Attempt: 1, At: at, Job: "crm-audiences", ToolVersion: "v1.2.3"},
		EndedAt:  at.Add(time.Minute), Class: "failed", Failure: "the operator does not answer",
		Report: schemas.Report{Run: "20260304T040000.000Z", Status: schemas.StatusInterrupted,
			IDs: schemas.Checked{Distinct: 1000, Known: 3, OptedOut: 4, Batches: 2, Retries: 1}, Tables: make([]schemas.TableReport, 2)},
		Stages: []schemas.Stage{
			{Name: "extract", Began: at.Add(time.Second), Ended: at.Add(2 * time.Second), Total: 1500, Unit: "rows"},
			{Name: "check", Began: at.Add(3 * time.Second), Ended: at.Add(time.Minute), Total: 1000, Unit: "ids", Unfinished: true},
		},
	}
}

type receiver struct {
	*httptest.Server
	path, auth, kind string
	body             []byte
}

func listen(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		r.path, r.auth, r.kind = q.URL.Path, q.Header.Get("Authorization"), q.Header.Get("Content-Type")
		r.body, _ = io.ReadAll(q.Body)
	}))
	t.Cleanup(r.Close)
	return r
}

func TestTrace(t *testing.T) {
	r := listen(t)
	sender := delivery.New(delivery.Options{})
	defer sender.Close()
	x := Exporter{Endpoint: schemas.NewSecret(r.URL), Authorization: schemas.NewSecret("Bearer abc"), Sender: sender}
	if err := x.Started(t.Context(), end().RunStart); err != nil || r.body != nil {
		t.Error("a span was sent before it ended")
	}
	if err := x.Ended(t.Context(), end()); err != nil {
		t.Fatal(err)
	}
	if r.path != "/v1/traces" || r.auth != "Bearer abc" || r.kind != "application/json" {
		t.Errorf("path %s, authorization %s, type %s", r.path, r.auth, r.kind)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, r.body, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	const golden = "testdata/trace.json"
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if pretty.String() != string(want) {
		t.Errorf("got %s", pretty.String())
	}
	x.Endpoint = schemas.NewSecret(r.URL + "/otlp/v1/traces")
	if err := x.Ended(t.Context(), end()); err != nil || r.path != "/otlp/v1/traces" {
		t.Errorf("path %s, %v", r.path, err)
	}
}

// What the protocol asks of ids and times.
func TestSpansFitTogether(t *testing.T) {
	spans := traceOf(end()).Resources[0].Scopes[0].Spans
	seen := map[string]bool{}
	for _, s := range spans {
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(s.Trace) || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(s.ID) {
			t.Errorf("ids %s, %s", s.Trace, s.ID)
		}
		if seen[s.ID] || s.Trace != spans[0].Trace || s.Start > s.End || s.Start < spans[0].Start || s.End > spans[0].End {
			t.Errorf("span %+v", s)
		}
		seen[s.ID] = true
		if s.Parent != "" && s.Parent != spans[0].ID {
			t.Errorf("parent %s", s.Parent)
		}
	}
	other := end()
	other.Attempt++
	if traceOf(other).Resources[0].Scopes[0].Spans[0].Trace == spans[0].Trace {
		t.Error("two attempts have one trace")
	}
	unbegun := traceOf(schemas.RunEnd{Class: "usage", Failure: "no workspace"}).Resources[0].Scopes[0].Spans
	if len(unbegun) != 1 || unbegun[0].Status.Code != failed {
		t.Errorf("got %+v", unbegun)
	}
}
