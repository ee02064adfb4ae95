// Package lineage tells OpenLineage (spec 2-0-2) about runs. Every attempt at
// a run is an OpenLineage run of its own, since one ends only once: a run that
// was taken up again has a START and an end for each time. No event holds an
// id or a value of a table.
package lineage

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

// Options of an Emitter.
type Options struct {
	File      string         // events are appended to it, one a line; empty: none
	URL       schemas.Secret // events are posted there; /api/v1/lineage is added to a URL without a path
	APIKey    schemas.Secret // bearer token for URL; may be zero
	Namespace string         // of the job
	Sender    *delivery.Sender
}

// Emitter tells OpenLineage about runs.
type Emitter struct{ o Options }

// New makes an Emitter.
func New(o Options) *Emitter { return &Emitter{o} }

// RunID is the OpenLineage id of an attempt: a UUID of version 5 (RFC 9562)
// over workspace, run and attempt, so that an event that is sent again has the
// same one.
func RunID(s schemas.RunStart) string {
	namespace := [16]byte{0x0b, 0x5d, 0x7e, 0x6a, 0x5e, 0x0a, 0x5c, 0x1e, 0x8d, 0x1c, 0x6f, 0x70, 0x74, 0x73, 0x77, 0x70}
	h := sha1.New()
	h.Write(namespace[:])
	fmt.Fprintf(h, "%s/%s/%d", s.Workspace, s.Run, s.Attempt)
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	x := hex.EncodeToString(u)
	return strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
}

// Started tells that an attempt has started.
func (m *Emitter) Started(ctx context.Context, s schemas.RunStart) error {
	e := m.event(s, "START", s.At)
	for _, d := range s.Tables {
		e.Inputs = append(e.Inputs, input{dataset: dataset{d.Namespace, d.Name}})
		e.Outputs = append(e.Outputs, output{dataset: dataset(d.Output)})
	}
	return m.emit(ctx, e)
}

// Ended tells how an attempt has ended. Of one that never began nothing is
// told: it has no START.
func (m *Emitter) Ended(ctx context.Context, end schemas.RunEnd) error {
	if end.Report.Run == "" {
		return nil
	}
	e := m.event(end.RunStart, eventType(end), end.EndedAt)
	if end.Failure != "" {
		e.Run.Facets["errorMessage"] = errorMessage{e.base("1-0-0", "ErrorMessageRunFacet"), end.Failure, "go"}
	}
	tables := map[string]schemas.TableReport{}
	for _, t := range end.Report.Tables {
		tables[t.Table] = t
	}
	for _, d := range end.Tables {
		t, known := tables[d.Table]
		in, out := input{dataset: dataset{d.Namespace, d.Name}}, output{dataset: dataset(d.Output)}
		if known {
			column := columnMetrics{NullCount: t.Nulls}
			if len(end.Tables) == 1 && end.Report.IDs.Distinct > 0 {
				column.DistinctCount = &end.Report.IDs.Distinct // otherwise it is over all tables
			}
			in.Facets = map[string]any{"dataQualityMetrics": quality{
				e.base("1-0-2", "DataQualityMetricsInputDatasetFacet"), t.Rows, t.BytesBefore, map[string]columnMetrics{d.IDColumn: column},
			}}
			if t.Status != schemas.StatusFailed { // otherwise it is not known what was written
				out.Facets = map[string]any{"outputStatistics": statistics{
					e.base("1-0-2", "OutputStatisticsOutputDatasetFacet"), t.RowsNew + t.RowsEarlier, t.BytesAfter,
				}}
			}
		}
		e.Inputs, e.Outputs = append(e.Inputs, in), append(e.Outputs, out)
	}
	return m.emit(ctx, e)
}

// eventType of an end: COMPLETE only if all was done that was to be done.
func eventType(end schemas.RunEnd) string {
	switch {
	case end.Killed || end.Class == schemas.Cancelled.String():
		return "ABORT"
	case end.Class != "":
		return "FAIL"
	default:
		return "COMPLETE"
	}
}

func (m *Emitter) event(s schemas.RunStart, typ string, at time.Time) *event {
	e := &event{
		Type: typ, Time: stamp(at), Producer: producer(s.ToolVersion), SchemaURL: "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
		Run: run{ID: RunID(s), Facets: map[string]any{}}, Job: job{m.o.Namespace, s.Job}, Inputs: []input{}, Outputs: []output{},
	}
	if !s.Scheduled.IsZero() {
		e.Run.Facets["nominalTime"] = nominalTime{e.base("1-0-1", "NominalTimeRunFacet"), stamp(s.Scheduled)}
	}
	return e
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// producer is a URI without a place: the program has no page of its own.
func producer(version string) string { return "urn:optsweep:" + url.PathEscape(version) }

// emit sends an event to all places, and tells which it did not reach.
func (m *Emitter) emit(ctx context.Context, e *event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var errs []error
	if m.o.File != "" {
		errs = append(errs, appendLine(m.o.File, data))
	}
	if !m.o.URL.IsZero() {
		errs = append(errs, m.o.Sender.Send(ctx, delivery.Message{
			Method: http.MethodPost, URL: endpoint(m.o.URL), Type: "application/json", Body: data, Header: func(h http.Header) {
				if !m.o.APIKey.IsZero() {
					h.Set("Authorization", "Bearer "+m.o.APIKey.Reveal())
				}
			},
		}))
	}
	return errors.Join(errs...)
}

// endpoint adds the usual path to a URL that has none.
func endpoint(base schemas.Secret) schemas.Secret {
	u, err := url.Parse(base.Reveal())
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return base
	}
	u.Path = "/api/v1/lineage"
	return schemas.NewSecret(u.String())
}

// appendLine adds a line with one call, so that lines of several processes do
// not mix. A pipe, say, could keep the caller waiting for ever.
func appendLine(path string, line []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
