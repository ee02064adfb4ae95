//go:build unix

package operator

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

var benchSecret = schemas.NewSecret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")

func benchIDs(b *testing.B, n int) []schemas.ID {
	ids := make([]schemas.ID, n)
	for i := range ids {
		raw := make([]byte, 33)
		raw[0] = 0x10
		binary.BigEndian.PutUint64(raw[1:], uint64(i)*0x9E3779B97F4A7C15)
		var err error
		if ids[i], err = schemas.FromRaw(raw); err != nil {
			b.Fatal(err)
		}
	}
	slices.SortFunc(ids, schemas.ID.Compare) // as a job asks them
	return ids
}

// benchAnswer is the body of an answer that lists every nth id.
func benchAnswer(b *testing.B, q *batch, cipher *envelope.Cipher, nonce envelope.Nonce, nth int) []byte {
	var list []string
	for i := 0; i < len(q.ids); i += nth {
		list = append(list, fmt.Sprintf(`{"advertising_id":"%s","opted_out_since":1764547200000}`, q.idText(i)))
	}
	payload := `{"body":{"opted_out":[` + strings.Join(list, ",") + `]},"status":"success"}`
	sealed := cipher.SealResponse(nil, envelope.Request{TimeMS: time.Now().UnixMilli(), Nonce: nonce, Payload: []byte(payload)}, [12]byte{1})
	return []byte(base64.StdEncoding.EncodeToString(sealed))
}

// cpuTime is what this process has used so far. It says more than the wall
// clock on a busy machine.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBatchCPU is all that the client computes for one batch of 5,000
// ids, without the network: JSON, seal, base64, and the answer back.
func BenchmarkBatchCPU(b *testing.B) {
	cipher, err := envelope.NewCipher(benchSecret)
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct {
		name   string
		binary bool
		nth    int
	}{{"text/hits=1%", false, 100}, {"text/hits=100%", false, 1}, {"binary/hits=1%", true, 100}} {
		b.Run(bc.name, func(b *testing.B) {
			ids := benchIDs(b, MaxBatch)
			q := new(batch)
			q.encode(ids)
			answerBody := benchAnswer(b, q, cipher, envelope.Nonce{}, bc.nth)
			c, err := New(Options{Kind: Public, Scope: schemas.EUID, Environment: schemas.Integration,
				Credentials: func(context.Context) (Credentials, error) { return Credentials{}, nil }})
			if err != nil {
				b.Fatal(err)
			}
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}}
			k := &keys{cipher: cipher}
			hits := (len(ids) + bc.nth - 1) / bc.nth
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				q.encode(ids)
				now := time.Now()
				q.seal(cipher, envelope.Request{TimeMS: now.UnixMilli(), Payload: q.payload}, [12]byte{1}, bc.binary)
				q.received = append(q.received[:0], answerBody...)
				var answer schemas.Answer
				if f := c.accept(q, k, resp, envelope.Nonce{}, now, now, &answer); f != nil {
					b.Fatal(f.err)
				}
				answer.OptedOut = earliest(answer.OptedOut)
				if len(answer.OptedOut) != hits {
					b.Fatal("wrong answer")
				}
			}
			used := cpuTime(b) - began
			b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/batch")
			b.ReportMetric(float64(b.N)*MaxBatch/used.Seconds()/1e6, "Mids/cpu-s")
		})
	}
}

// BenchmarkConnectionBusy asks an operator that takes 20 ms per batch and
// reports for which share of the time a request was under way.
func BenchmarkConnectionBusy(b *testing.B) {
	cipher, err := envelope.NewCipher(benchSecret)
	if err != nil {
		b.Fatal(err)
	}
	ids := benchIDs(b, MaxBatch)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		sealed, err := base64.StdEncoding.DecodeString(string(body))
		if err != nil {
			return
		}
		req, err := cipher.OpenRequest(nil, sealed)
		if err != nil {
			return
		}
		q := new(batch)
		q.encode(ids)
		answer := benchAnswer(b, q, cipher, req.Nonce, 100)
		time.Sleep(20*time.Millisecond - time.Since(began))
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	c, err := New(Options{Kind: Public, URL: server.URL, Scope: schemas.EUID, Environment: schemas.Integration,
		Credentials: func(context.Context) (Credentials, error) {
			return Credentials{APIKey: schemas.NewSecret("key"), ClientSecret: benchSecret}, nil
		}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	before := c.Stats().Busy
	for b.Loop() {
		if _, err := c.Check(b.Context(), ids); err != nil {
			b.Fatal(err)
		}
	}
	busy := c.Stats().Busy - before
	b.ReportMetric(float64(busy)/float64(b.Elapsed())*100, "%busy")
	b.ReportMetric(float64(b.N)*MaxBatch/b.Elapsed().Seconds(), "ids/s")
}
