package embedded

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"optsweep/schemas"
)

// discard is a response writer that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// benchRig serves a log of a million ids; a batch has 5,000 ids of which
// percent in a hundred are in the log.
func benchRig(b *testing.B, percent int) (*rig, []byte) {
	r := newRig(b, func(o *Options) { o.Log = nil })
	in := randomIDs(1, 1_000_000)
	writeLog(b, r.dir, sinceS, in...)
	r.server.Refresh(b.Context())
	var list []string
	for i, id := range randomIDs(2, 5000) {
		if i%100 < percent {
			id = in[i*199]
		}
		list = append(list, `"`+string(id.AppendText(nil))+`"`)
	}
	return r, r.seal(vectorMS, `{"advertising_ids":[`+strings.Join(list, ",")+`]}`)
}

// BenchmarkStatus is the whole handler: read, decode, decrypt, parse, look up,
// encrypt, encode.
func BenchmarkStatus(b *testing.B) {
	for _, percent := range []int{0, 3, 100} {
		r, sealed := benchRig(b, percent)
		for _, mode := range []string{"text", "binary"} {
			b.Run(fmt.Sprintf("%s/hits=%d%%", mode, percent), func(b *testing.B) {
				body := sealed
				req := httptest.NewRequest(http.MethodPost, StatusPath, nil)
				req.Header.Set("Authorization", "Bearer "+r.key)
				if mode == "text" {
					body = text(sealed)
				} else {
					req.Header.Set("Content-Type", typeBinary)
				}
				reader := bytes.NewReader(body)
				req.ContentLength = int64(len(body))
				w := &discard{header: http.Header{}}
				b.ReportAllocs()
				start := cpuSeconds(b)
				for b.Loop() {
					reader.Reset(body)
					req.Body = readCloser{reader}
					r.server.ServeHTTP(w, req)
				}
				if w.status != 200 {
					b.Fatalf("status %d", w.status)
				}
				b.ReportMetric(float64(b.N)/(cpuSeconds(b)-start), "batches/cpu-s")
			})
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func BenchmarkParseRequest(b *testing.B) {
	var list []string
	for _, id := range randomIDs(3, 5000) {
		list = append(list, `"`+string(id.AppendText(nil))+`"`)
	}
	payload := []byte(`{"advertising_ids":[` + strings.Join(list, ",") + `]}`)
	var ids []schemas.ID
	start := cpuSeconds(b)
	for b.Loop() {
		got, ok := parseRequest(payload, ids[:0])
		if !ok {
			b.Fatal("not parsed")
		}
		ids = got.ids
	}
	b.ReportMetric(float64(b.N)*5000/1e6/(cpuSeconds(b)-start), "Mids/cpu-s")
}

// BenchmarkCheck is the check phase in process.
func BenchmarkCheck(b *testing.B) {
	r, _ := benchRig(b, 0)
	c, err := NewChecker(r.store)
	if err != nil {
		b.Fatal(err)
	}
	ids := randomIDs(4, 1<<20)
	copy(ids, randomIDs(1, len(ids)/30))
	start := cpuSeconds(b)
	for b.Loop() {
		if answer, err := c.Check(b.Context(), ids); err != nil || len(answer.OptedOut) != len(ids)/30 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(ids))/1e6/(cpuSeconds(b)-start), "Mids/cpu-s")
}

// cpuSeconds is the CPU time of this process: rates per core are told against
// it, because wall time depends on what else the machine does.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
