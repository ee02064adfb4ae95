package embedded

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// The published test vectors use this secret, these ids and this time.
const (
	vectorSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	vectorMS     = 1767225600000
	euidV3       = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g" // opted out
	clearV3      = "FCEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9A"
	sinceS       = 1764547200
)

var vectorTime = time.UnixMilli(vectorMS)

func parseID(t testing.TB, text string) schemas.ID {
	t.Helper()
	id, ok := schemas.ParseText([]byte(text))
	if !ok {
		t.Fatal("bad id in test")
	}
	return id
}

func writeLog(t testing.TB, dir string, second int64, ids ...schemas.ID) string {
	t.Helper()
	var entries []optoutlog.Entry
	for _, id := range ids {
		entries = append(entries, optoutlog.NewEntry(id, second))
	}
	path, err := optoutlog.Write(optoutlog.WriterOptions{Dir: dir, Start: vectorTime, End: vectorTime.Add(5 * time.Minute)}, entries)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func randomIDs(seed uint64, n int) []schemas.ID {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	r := rand.NewChaCha8(s)
	ids := make([]schemas.ID, n)
	for i := range ids {
		_, _ = r.Read(ids[i][1:])
		ids[i][0] = 0x10
	}
	return ids
}

// rig is a server over a log with the opted-out vector id, and a client of it.
type rig struct {
	t       testing.TB
	server  *Server
	store   *optoutlog.Store
	dir     string // log folder
	clients string // path of the clients file
	key     string // API key
	cipher  *envelope.Cipher
	nowMS   int64
	logged  *bytes.Buffer
}

// newRig makes a rig; change may adapt the options.
func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), clients: filepath.Join(t.TempDir(), "clients.json"), nowMS: vectorMS, logged: &bytes.Buffer{}}
	writeLog(t, r.dir, sinceS, parseID(t, euidV3))
	r.key, r.cipher = addClient(t, r.clients, KeyOptions{Name: "crm"}, nil)
	now := func() time.Time { return time.UnixMilli(r.nowMS) }
	r.store = optoutlog.New(optoutlog.Options{Dir: r.dir, Now: now})
	opts := Options{Store: r.store, Clients: r.clients, Now: now, Log: slog.New(slog.NewTextHandler(r.logged, nil))}
	if change != nil {
		change(&opts)
	}
	var err error
	if r.server, err = NewServer(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.store.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// addClient adds a client to a file; change may adapt its record.
func addClient(t testing.TB, path string, opts KeyOptions, change func(*ClientRecord)) (key string, cipher *envelope.Cipher) {
	t.Helper()
	opts.Scope, opts.SiteID = schemas.EUID, 123
	apiKey, secret, record, err := NewKey(opts)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&record)
	}
	if err := AddClient(durable.Disk{}, path, record); err != nil {
		t.Fatal(err)
	}
	if cipher, err = envelope.NewCipher(secret); err != nil {
		t.Fatal(err)
	}
	return apiKey.Reveal(), cipher
}

var testNonce = envelope.Nonce{1, 2, 3, 4, 5, 6, 7, 8}

func (r *rig) seal(timeMS int64, payload string) []byte {
	return r.cipher.SealRequest(nil, envelope.Request{TimeMS: timeMS, Nonce: testNonce, Payload: []byte(payload)}, [12]byte{9})
}

func text(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }

// post sends a status request.
func (r *rig) post(body []byte, change func(*http.Request)) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, StatusPath, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+r.key)
	if change != nil {
		change(req)
	}
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, req)
	return w
}

func (r *rig) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// open reads an answer of status 200.
func (r *rig) open(w *httptest.ResponseRecorder) string {
	r.t.Helper()
	body := w.Body.Bytes()
	if w.Code != 200 {
		r.t.Fatalf("status %d: %s", w.Code, body)
	}
	if w.Header().Get("Content-Type") == typeText {
		var err error
		if body, err = base64.StdEncoding.Strict().DecodeString(string(body)); err != nil {
			r.t.Fatal("the answer is not base64")
		}
	}
	opened, err := r.cipher.OpenResponse(nil, body, testNonce)
	if err != nil {
		r.t.Fatal(err)
	}
	if opened.TimeMS != r.nowMS {
		r.t.Errorf("the answer is of %d, not of %d", opened.TimeMS, r.nowMS)
	}
	return string(opened.Payload)
}

// ask sends ids and gives the payload of the answer.
func (r *rig) ask(ids ...string) string {
	r.t.Helper()
	payload := []byte(`{"advertising_ids":[`)
	for i, id := range ids {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = fmt.Appendf(payload, "%q", id)
	}
	return r.open(r.post(text(r.seal(r.nowMS, string(payload)+"]}")), nil))
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	noneOptedOut = `{"body":{"opted_out":[]},"status":"success"}`
	oneHit       = `{"advertising_id":"` + euidV3 + `","opted_out_since":1764547200000}`
	oneOptedOut  = `{"body":{"opted_out":[` + oneHit + `]},"status":"success"}`
	twoOptedOut  = `{"body":{"opted_out":[` + oneHit + `,` + oneHit + `]},"status":"success"}`
)
