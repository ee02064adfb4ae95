// Package tracing sends one trace for each attempt at a run: OTLP over HTTP in
// JSON, written here because the few spans of a run do not need an SDK with its
// global state. A span holds counts and no ids.
package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

// Exporter sends traces.
type Exporter struct {
	Endpoint      schemas.Secret // /v1/traces is added to a URL without a path
	Authorization schemas.Secret // value of the header of that name; may be zero
	Sender        *delivery.Sender
}

// Started sends nothing: a span is sent once it has ended.
func (Exporter) Started(context.Context, schemas.RunStart) error { return nil }

// Ended sends the trace of an attempt: a span for the run, and one for each of
// its phases below it.
func (x Exporter) Ended(ctx context.Context, e schemas.RunEnd) error {
	data, err := json.Marshal(traceOf(e))
	if err != nil {
		return err
	}
	return x.Sender.Send(ctx, delivery.Message{
		Method: http.MethodPost, URL: endpoint(x.Endpoint), Type: "application/json", Body: data, Header: func(h http.Header) {
			if !x.Authorization.IsZero() {
				h.Set("Authorization", x.Authorization.Reveal())
			}
		},
	})
}

func endpoint(base schemas.Secret) schemas.Secret {
	u, err := url.Parse(base.Reveal())
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return base
	}
	u.Path = "/v1/traces"
	return schemas.NewSecret(u.String())
}

func traceOf(e schemas.RunEnd) request {
	seed := fmt.Sprintf("%s/%s/%s/%d/%d", e.Workspace, e.Job, e.Run, e.Attempt, e.At.UnixNano())
	trace := digest(seed, 16)
	r := e.Report
	root := span{
		Trace: trace, ID: digest(seed+"/run", 8), Name: "run", Kind: internal, Start: nanos(e.At), End: nanos(e.EndedAt),
		Attributes: []attribute{text("optsweep.job", e.Job), count("optsweep.attempt", int64(e.Attempt))},
	}
	if r.Run != "" {
		root.Attributes = append(root.Attributes, text("optsweep.run", r.Run), text("optsweep.status", r.Status),
			count("optsweep.tables", int64(len(r.Tables))), count("optsweep.ids.distinct", r.IDs.Distinct),
			count("optsweep.ids.opted_out", r.IDs.Known+r.IDs.OptedOut), count("optsweep.units.failed", int64(len(r.Failures))))
	}
	if e.Class != "" {
		root.Status = &status{failed, e.Failure}
		root.Attributes = append(root.Attributes, text("error.type", e.Class))
	}
	spans := []span{root}
	for i, stage := range e.Stages {
		s := span{
			Trace: trace, ID: digest(fmt.Sprintf("%s/%d/%s", seed, i, stage.Name), 8), Parent: root.ID, Name: stage.Name, Kind: internal,
			Start: nanos(stage.Began), End: nanos(stage.Ended), Attributes: []attribute{count("optsweep."+stage.Unit, stage.Total)},
		}
		if stage.Name == "check" && r.IDs.Batches > 0 {
			s.Attributes = append(s.Attributes, count("optsweep.batches", r.IDs.Batches), count("optsweep.retries", r.IDs.Retries))
		}
		if stage.Unfinished {
			s.Status = &status{Code: failed}
		}
		spans = append(spans, s)
	}
	return request{[]resourceSpans{{
		Resource: resource{[]attribute{text("service.name", "optsweep"), text("service.version", e.ToolVersion)}},
		Scopes:   []scopeSpans{{Scope: scope{Name: "optsweep", Version: e.ToolVersion}, Spans: spans}},
	}}}
}

func digest(s string, size int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:size])
}

// Numbers of the protocol.
const (
	internal = 1 // kind of a span
	failed   = 2 // status code
)

// request is an ExportTraceServiceRequest. Ids are hexadecimal and integers of
// 64 bits text, as OTLP's JSON has them.
type request struct {
	Resources []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource resource     `json:"resource"`
	Scopes   []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []attribute `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type span struct {
	Trace      string      `json:"traceId"`
	ID         string      `json:"spanId"`
	Parent     string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      string      `json:"startTimeUnixNano"`
	End        string      `json:"endTimeUnixNano"`
	Attributes []attribute `json:"attributes"`
	Status     *status     `json:"status,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Message string `json:"message,omitempty"`
}

type attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	Text *string `json:"stringValue,omitempty"`
	Int  *string `json:"intValue,omitempty"`
}

func text(key, s string) attribute { return attribute{key, value{Text: &s}} }

func count(key string, n int64) attribute {
	s := strconv.FormatInt(n, 10)
	return attribute{key, value{Int: &s}}
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
