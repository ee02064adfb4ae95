package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const hookPath = "/webhook/optout"

func intakeRig(t testing.TB, disk durable.Disk) *rig {
	return newRig(t, func(o *Options) {
		o.Disk = disk
		o.Intake = IntakeOptions{Path: hookPath, IDParam: "euid", Token: schemas.NewSecret("hook token"), Replica: 7,
			Rules: schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}}
	})
}

// hook sends one opt-out as the opt-out service does.
func (r *rig) hook(method string, params url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, hookPath+"?"+params.Encode(), nil)
	req.Header.Set("Authorization", "Bearer hook token")
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, req)
	return w
}

func params(id, time string) url.Values {
	return url.Values{"action": {"dooptout"}, "euid": {id}, "timestamp": {time}}
}

func hits(id string, ms int64) string {
	return fmt.Sprintf(`{"body":{"opted_out":[{"advertising_id":%q,"opted_out_since":%d}]},"status":"success"}`, id, ms)
}

const (
	plusV3 = "EPv7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7"
	v2Text = "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="
)

func TestIntake(t *testing.T) {
	r := intakeRig(t, durable.Disk{})
	for _, step := range []struct {
		name   string
		method string
		params url.Values
		id     string // to ask for
		want   int64  // ms; 0 for clear
	}{
		{"GET", "GET", params(clearV3, "1767225000"), clearV3, 1767225000000},
		{"POST", "POST", params(v2Text, "1767225001"), v2Text, 1767225001000},
		{"again", "POST", params(v2Text, "1767225001"), v2Text, 1767225001000},
		{"later", "POST", params(v2Text, "1767225009"), v2Text, 1767225001000},
		{"earlier", "POST", params(v2Text, "1767224000"), v2Text, 1767224000000},
		{"plus signs not escaped", "GET", params(strings.ReplaceAll(plusV3, "+", " "), "1767225002"), plusV3, 1767225002000},
		{"no time", "GET", params("EQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", ""), "EQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", 0},
		{"no time, valid id", "GET", params("EAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", "soon"), "EAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", vectorMS},
		{"milliseconds", "GET", params("EAMDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", "1767225000000"), "EAMDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", vectorMS},
		{"opening entry", "GET", params("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "1767225000"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0},
		{"closing entry", "GET", params("//////////////////////////////////////////8=", "1767225300"), "//////////////////////////////////////////8=", 0},
		{"UID2", "GET", params("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", "1767225300"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", 0},
		{"no id", "GET", url.Values{"timestamp": {"1767225300"}}, clearV3, 1767225000000},
		{"placeholder", "GET", params("${ADVERTISING_ID}", "${OPTOUT_EPOCH}"), clearV3, 1767225000000},
	} {
		w := r.hook(step.method, step.params)
		if w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("%s: %d %s", step.name, w.Code, w.Body)
		}
		want := noneOptedOut
		if step.want > 0 {
			want = hits(step.id, step.want)
		}
		if got := r.ask(step.id); got != want {
			t.Errorf("%s: %s", step.name, got)
		}
	}
	for _, id := range []string{clearV3, v2Text, plusV3, euidV3, "AAECAwQFBgcICQoL"} {
		if strings.Contains(r.logged.String(), id) {
			t.Error("the log shows an id")
		}
	}
	if !strings.Contains(r.logged.String(), "reason=wrong_scope") {
		t.Errorf("log: %s", r.logged)
	}
	metrics := r.get(MetricsPath).Body.String()
	for result, n := range map[string]int{"accepted": 6, "repeated": 2, "sentinel": 2, "malformed": 4} {
		if want := fmt.Sprintf("optsweep_operator_intake_total{result=%q} %d\n", result, n); !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// A v4 id arrives without the two highest bits of its first byte.
func TestIntakeRestoresV4(t *testing.T) {
	r := intakeRig(t, durable.Disk{})
	id := schemas.ID{0: 0xB0, 9: 7, 32: 0xB0 ^ 7}
	sent := id
	sent[0] &= 0x3F
	if w := r.hook("GET", params(string(sent.AppendText(nil)), "1767225000")); w.Code != 200 {
		t.Fatal(w.Code)
	}
	if got := r.ask(string(id.AppendText(nil))); got != hits(string(id.AppendText(nil)), 1767225000000) {
		t.Error(got)
	}
	if err := r.server.intake.rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh := optoutlog.New(optoutlog.Options{Dir: r.dir})
	if err := fresh.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ms, ok := fresh.Snapshot().Since(id); !ok || ms != 1767225000000 {
		t.Errorf("from the file: %d %t", ms, ok)
	}
}

func TestIntakeNeedsItsToken(t *testing.T) {
	r := intakeRig(t, durable.Disk{})
	for _, header := range []string{"", "Bearer", "Bearer wrong", "Bearer " + r.key, "Basic hook token"} {
		req := httptest.NewRequest("GET", hookPath+"?"+params(clearV3, "1767225000").Encode(), nil)
		req.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		r.server.ServeHTTP(w, req)
		if w.Code != 401 {
			t.Errorf("%q: %d", header, w.Code)
		}
	}
	if got := r.ask(clearV3); got != noneOptedOut {
		t.Error(got)
	}
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, hookPath, nil))
	if w.Code != 405 {
		t.Errorf("DELETE: %d", w.Code)
	}
	for _, bad := range []IntakeOptions{{Path: hookPath}, {Path: "hook", Token: schemas.NewSecret("t")}} {
		if _, err := NewServer(Options{Store: r.store, Clients: r.clients, Intake: bad}); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := NewServer(Options{Store: r.store, Clients: r.clients, Intake: IntakeOptions{Path: hookPath, Token: schemas.NewSecret("t")}}); schemas.ClassOf(err) != schemas.Locked {
		t.Errorf("a second server on one journal: %v", err)
	}
}

// Whichever durable step fails, and whether or not it happened, an opt-out
// that was answered 200 survives a kill; one answered 503 is served once it is
// sent again.
func TestIntakeDurability(t *testing.T) {
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.SyncDir, durable.Rename, durable.Remove} {
		for _, stored := range []bool{false, true} {
			for nth := 1; nth <= 3; nth++ {
				t.Run(fmt.Sprintf("%s/stored=%t/%d", step, stored, nth), func(t *testing.T) {
					var mu sync.Mutex
					count := 0
					disk := durable.Disk{Fault: func(at durable.Step, _ string) (bool, error) {
						mu.Lock()
						defer mu.Unlock()
						if at != step {
							return false, nil
						}
						if count++; count == nth {
							return stored, errors.New("broken disk")
						}
						return false, nil
					}}
					r := intakeRig(t, disk)
					accepted := []string{}
					for i, id := range randomIDs(2, 4) {
						sent := string(id.AppendText(nil))
						w := r.hook("POST", params(sent, "1767225000"))
						if w.Code == 503 {
							w = r.hook("POST", params(sent, "1767225000"))
						}
						if w.Code != 200 {
							t.Fatalf("item %d: %d after a repeat", i, w.Code)
						}
						accepted = append(accepted, sent)
						if i == 1 {
							r.server.rotate(t.Context())
						}
					}
					for _, id := range accepted {
						if got := r.ask(id); got != hits(id, 1767225000000) {
							t.Error(got)
						}
					}
					restarted := restart(t, r)
					for _, id := range accepted {
						if ms, ok := restarted.Snapshot().Since(parseID(t, id)); !ok || ms != 1767225000000 {
							t.Error("an accepted opt-out is lost by a restart")
						}
					}
				})
			}
		}
	}
}

// restart opens a copy of what is on the disk of a rig, as after a kill.
func restart(t *testing.T, r *rig) *optoutlog.Store {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	j, err := optoutlog.OpenJournal(optoutlog.JournalOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	store := optoutlog.New(optoutlog.Options{Dir: dir})
	if err := store.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return store
}

// Opt-outs from many senders at once, with rotations in between: each is
// served right after its 200, and is in a file in the end.
func TestIntakeInParallel(t *testing.T) {
	r := intakeRig(t, durable.Disk{})
	ids := randomIDs(3, 200)
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for i := s; i < len(ids); i += 4 {
				if w := r.hook("POST", params(string(ids[i].AppendText(nil)), "1767225000")); w.Code != 200 {
					t.Errorf("%d", w.Code)
				}
				if _, ok := r.store.Snapshot().Since(ids[i]); !ok {
					t.Error("not served after its 200")
				}
				if i%50 == 0 {
					r.server.rotate(t.Context())
				}
			}
		})
	}
	senders.Wait()
	r.server.rotate(t.Context())
	if w := r.get(HealthPath); w.Code != 200 {
		t.Errorf("health: %s", w.Body)
	}
	if _, err := os.Stat(filepath.Join(r.dir, optoutlog.JournalName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
	store := optoutlog.New(optoutlog.Options{Dir: r.dir})
	if err := store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.Snapshot().AppendOptedOut(nil, ids); len(got) != len(ids) {
		t.Errorf("%d of %d in files", len(got), len(ids))
	}
}

// A rotation that fails shows in the health check until one succeeds.
func TestRotationFailure(t *testing.T) {
	broken := false
	r := intakeRig(t, durable.Disk{Fault: func(at durable.Step, _ string) (bool, error) {
		if broken && at == durable.Rename {
			return false, errors.New("broken disk")
		}
		return false, nil
	}})
	if w := r.hook("GET", params(clearV3, "1767225000")); w.Code != 200 {
		t.Fatal(w.Code)
	}
	broken = true
	r.server.rotate(t.Context())
	if w := r.get(HealthPath); w.Code != 503 || !strings.Contains(w.Body.String(), "broken disk") {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	broken = false
	r.server.rotate(t.Context())
	if w := r.get(HealthPath); w.Code != 200 {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if got := r.ask(clearV3); got != hits(clearV3, 1767225000000) {
		t.Error(got)
	}
}
