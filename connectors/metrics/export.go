package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// text gives the figures of the last runs in the text format.
func (m *Metrics) text() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	families, err := m.last.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// WriteTextfile puts the figures into the file at path, whole or not at all,
// readable by everybody. One file is for one job. A last success and a last
// failure that only the file there knows of are kept: a run that could not
// even read its ledger must not make them forgotten.
func (m *Metrics) WriteTextfile(path, job string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path) // a pipe, say, could keep the caller waiting for ever
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.keep(old, job)
	data, err := m.text()
	if err != nil {
		return err
	}
	f, err := durable.Disk{}.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.Chmod(0o644); err != nil { // the umask must not hide it from the collector
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Publish()
}

// keep takes over the later times of an older file. One that cannot be read is
// replaced: it holds nothing that could not be measured again.
func (m *Metrics) keep(old []byte, job string) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(old))
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.times[job]
	at.success = later(at.success, timeOf(families[prefix+lastSuccess], job))
	at.failure = later(at.failure, timeOf(families[prefix+lastFailure], job))
	m.times[job] = at
	for name, t := range map[string]time.Time{lastSuccess: at.success, lastFailure: at.failure} {
		if !t.IsZero() {
			m.vectors[name].WithLabelValues(job).Set(seconds(t))
		}
	}
}

// timeOf is the time that a gauge of the job holds, or zero.
func timeOf(f *dto.MetricFamily, job string) time.Time {
	for _, metric := range f.GetMetric() {
		for _, l := range metric.GetLabel() {
			if s := metric.GetGauge().GetValue(); l.GetName() == "job" && l.GetValue() == job && s > 0 {
				return time.UnixMilli(int64(s * 1000)).UTC()
			}
		}
	}
	return time.Time{}
}

// Push sends the figures to the Pushgateway at base, grouped by the name of the
// job. With all set they replace the whole group, otherwise only metrics of the
// same names, so that what is unknown here stays.
func (m *Metrics) Push(ctx context.Context, s *delivery.Sender, base schemas.Secret, job string, all bool) error {
	data, err := m.text()
	if err != nil {
		return err
	}
	u, err := url.Parse(base.Reveal())
	if err != nil {
		return errors.New("not a URL")
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/metrics/job/" + job
	method := http.MethodPost
	if all {
		method = http.MethodPut
	}
	err = s.Send(ctx, delivery.Message{
		Method: method, URL: schemas.NewSecret(u.String()), Type: string(expfmt.NewFormat(expfmt.TypeTextPlain)), Body: data,
	})
	if err != nil {
		return fmt.Errorf("pushgateway: %w", err)
	}
	return nil
}
