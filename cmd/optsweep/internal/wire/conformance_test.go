package wire

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// vectors are ids of every version with the verdict that every checker has to
// give: Unix ms of the opt-out, or 0 for clear.
func vectors(t *testing.T) map[schemas.ID]int64 {
	t.Helper()
	want := map[schemas.ID]int64{}
	for n := range 240 {
		sum := sha256.Sum256(fmt.Append(nil, "vector", n))
		raw := sum[:] // v2
		switch n % 4 {
		case 1:
			raw = append([]byte{0x10}, sum[:]...) // v3, e-mail
		case 2:
			raw = append([]byte{0x14}, sum[:]...) // v3, phone
		case 3: // v4 of production, its last byte the XOR of the others
			raw = append([]byte{0xB0}, sum[:]...)
			raw[32] = 0
			for _, b := range raw[:32] {
				raw[32] ^= b
			}
		}
		id, err := schemas.FromRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = 0
		if n%3 == 0 {
			want[id] = int64(1_700_000_000+n) * 1000
		}
	}
	return want
}

// world is an opt-out log of the vectors, with whatever answers from it.
type world struct {
	want    map[schemas.ID]int64
	store   *optoutlog.Store
	clients string
	keys    operator.Credentials
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{want: vectors(t), clients: filepath.Join(t.TempDir(), "clients.json")}
	dir := t.TempDir()
	var entries []optoutlog.Entry
	for id, ms := range w.want {
		if ms > 0 {
			// Once more later: the earliest time counts.
			entries = append(entries, optoutlog.NewEntry(id, ms/1000+5000), optoutlog.NewEntry(id, ms/1000))
		}
	}
	now := time.Now()
	if _, err := optoutlog.Write(optoutlog.WriterOptions{Dir: dir, Start: now, End: now}, entries); err != nil {
		t.Fatal(err)
	}
	w.store = optoutlog.New(optoutlog.Options{Dir: dir})
	if err := w.store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, secret, record, err := embedded.NewKey(embedded.KeyOptions{Scope: schemas.EUID, Environment: schemas.Production, SiteID: 1, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.keys = operator.Credentials{APIKey: key, ClientSecret: secret}
	if err := embedded.AddClient(durable.Disk{}, w.clients, record); err != nil {
		t.Fatal(err)
	}
	return w
}

// remote is a client of a server with faults.
func (w *world) remote(t *testing.T, faults string, binary bool, batch int) *operator.Client {
	t.Helper()
	parsed, err := embedded.ParseFaults(faults)
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.NewServer(embedded.Options{Store: w.store, Clients: w.clients, Faults: parsed})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	client, err := operator.New(operator.Options{
		Kind: operator.Public, URL: "http://" + l.Addr().String(), Scope: schemas.EUID, Environment: schemas.Production,
		Credentials: func(context.Context) (operator.Credentials, error) { return w.keys, nil },
		Binary:      binary, BatchSize: batch, Deadline: 20 * time.Second, BackoffBase: time.Millisecond, BackoffMax: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// ask checks all vectors and compares every verdict. An error leaves no
// verdict at all.
func (w *world) ask(t *testing.T, c checker) error {
	t.Helper()
	ids := make([]schemas.ID, 0, len(w.want))
	for id := range w.want {
		ids = append(ids, id)
	}
	answer, err := c.Check(t.Context(), ids)
	if err != nil {
		if len(answer.OptedOut) > 0 || len(answer.Rejected) > 0 {
			t.Error("an error came with verdicts")
		}
		return err
	}
	if answer.AsOfMS <= 0 || len(answer.Rejected) > 0 {
		t.Errorf("as of %d, %d rejected", answer.AsOfMS, len(answer.Rejected))
	}
	found := map[schemas.ID]int64{}
	for _, o := range answer.OptedOut {
		found[o.ID] = o.SinceMS
	}
	for id, ms := range w.want {
		if found[id] != ms {
			t.Errorf("a v%d id is opted out since %d, want %d", id.Version(), found[id], ms)
		}
	}
	return nil
}

func TestEveryCheckerGivesTheSameVerdicts(t *testing.T) {
	w := newWorld(t)
	inProcess, err := embedded.NewChecker(w.store)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]checker{
		"in process":             inProcess,
		"http, text":             w.remote(t, "", false, 0),
		"http, binary":           w.remote(t, "", true, 0),
		"http, small requests":   w.remote(t, "", false, 17),
		"http, binary and small": w.remote(t, "", true, 17),
	} {
		t.Run(name, func(t *testing.T) {
			if err := w.ask(t, c); err != nil {
				t.Fatal(err)
			}
			if answer, err := c.Check(t.Context(), nil); err != nil || len(answer.OptedOut) > 0 {
				t.Errorf("asked about nothing: %v", err)
			}
		})
	}
}

// A fault that passes is ridden out; one that stays is an error. Neither ever
// gives a wrong verdict.
func TestNoFaultGivesAWrongVerdict(t *testing.T) {
	w := newWorld(t)
	for _, fault := range []string{
		"429:every=2", "429:every=9:retry_after=1s", "500:every=2", "502:every=3", "503:every=2", "504:every=4",
		"slow=2ms", "drop:every=3", "cut:every=3", "skew=20s", "skew=-20s", "429:every=5,drop:every=7,cut:every=11,500:every=3",
	} {
		for _, binary := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s binary=%v", fault, binary), func(t *testing.T) {
				if err := w.ask(t, w.remote(t, fault, binary, 20)); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	for fault, class := range map[string]schemas.Class{
		"garbage:every=3": schemas.Integrity, "nonce:every=3": schemas.Integrity, "unasked:every=3": schemas.Integrity,
		"garbage": schemas.Integrity, "nonce": schemas.Integrity, "unasked": schemas.Integrity,
		"401:every=2": schemas.Refused, "skew=5m": schemas.Refused, "skew=-5m": schemas.Refused,
	} {
		for _, binary := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s binary=%v", fault, binary), func(t *testing.T) {
				if err := w.ask(t, w.remote(t, fault, binary, 20)); schemas.ClassOf(err) != class || schemas.HintOf(err) == "" {
					t.Fatalf("class %v, hint %q: %v", schemas.ClassOf(err), schemas.HintOf(err), err)
				}
			})
		}
	}
}
