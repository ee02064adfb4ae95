package embedded

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestKeyHashVector(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	key := "EUID-C-L-123-abcdef." + strings.Repeat("A", 37) + "="
	want := "kuo7d+7CTBGRklcjnx7fJgRVojCl69TR5oMoJsNkmAE8Hf53YN8Tgb18BjnP0lW8JHVlZOIvXboa6rJUpz3RJw=="
	if got := base64.StdEncoding.EncodeToString(hashKey(salt, key)); got != want {
		t.Errorf("hash %s", got)
	}
	set, err := parseClients(fmt.Appendf(nil, `[{"key_hash":%q,"key_salt":%q,"secret":%q,"name":"dsp","roles":["mapper","NEW_ROLE"],"site_id":123,"new_field":{}}]`, want, vectorSecret, vectorSecret))
	if err != nil {
		t.Fatal(err)
	}
	if c := set.find(key); c == nil || c.name != "dsp" || !c.allowed {
		t.Errorf("client %+v", c)
	}
	for _, other := range []string{"", key + " ", key[:len(key)-1], strings.ToLower(key), strings.Replace(key, "123", "124", 1)} {
		if set.find(other) != nil {
			t.Error("another key is accepted")
		}
	}
}

func TestNewKey(t *testing.T) {
	pattern := regexp.MustCompile(`^UID2-C-P-7-.{6}\.[A-Za-z0-9+/]{37}=$`)
	key, secret, record, err := NewKey(KeyOptions{Scope: schemas.UID2, Environment: schemas.Production, SiteID: 7, Name: "n", Contact: "c",
		Now: func() time.Time { return vectorTime }})
	if err != nil || !pattern.MatchString(key.Reveal()) {
		t.Fatalf("a key of another shape, %v", err)
	}
	if record.Created != vectorMS/1000 || !strings.HasPrefix(key.Reveal(), record.KeyID) || len(record.KeyID) != len("UID2-C-P-7-")+6 || record.Secret != secret.Reveal() {
		t.Errorf("record %v", record)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", record, record, record, key); strings.Contains(printed, secret.Reveal()) || strings.Contains(printed, record.KeyHash) {
		t.Error("a record shows its secret")
	}
	for _, bad := range []KeyOptions{{SiteID: 1}, {Name: "n"}} {
		if _, _, _, err := NewKey(bad); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("error %v", err)
		}
	}
}

// A client added to a file leaves the rest of it alone, and a failure at any
// step leaves the old file or the new one.
func TestAddClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	key1, _ := addClient(t, path, KeyOptions{Name: "one"}, nil)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"name"`, `"future": [1], "name"`, 1))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	key2, _ := addClient(t, path, KeyOptions{Name: "two"}, nil)
	if b, err = os.ReadFile(path); err != nil || !strings.Contains(string(b), `"future"`) {
		t.Errorf("a field is lost: %v", err)
	}
	set, err := parseClients(b)
	if err != nil || set.find(key1).name != "one" || set.find(key2).name != "two" {
		t.Fatalf("clients %v", err)
	}
	_, _, record, _ := NewKey(KeyOptions{Name: "three", SiteID: 3})
	for _, stored := range []bool{false, true} {
		for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename, durable.SyncDir} {
			broken := errors.New("broken")
			disk := durable.Disk{Fault: func(at durable.Step, _ string) (bool, error) {
				if at == step {
					return stored, broken
				}
				return false, nil
			}}
			if err := AddClient(disk, path, record); !errors.Is(err, broken) {
				t.Fatalf("%s: %v", step, err)
			}
			b, _ := os.ReadFile(path)
			var records []json.RawMessage
			if json.Unmarshal(b, &records) != nil || len(records) < 2 {
				t.Fatalf("%s: the file is damaged", step)
			}
		}
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AddClient(durable.Disk{}, path, record); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("a file of another shape is extended: %v", err)
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer k": "k", "bearer k": "k", "BEARER k": "k", "  Bearer k\t": "k", "Bearer  k": " k", "Bearer k k": "k k",
	} {
		if key, ok := bearer(header); !ok || key != want {
			t.Errorf("%q: %q %t", header, key, ok)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic k", "Bearerk", "k"} {
		if _, ok := bearer(header); ok {
			t.Errorf("%q is accepted", header)
		}
	}
}

// Unknown, disabled and role-less keys cannot be told apart.
func TestAuthorisation(t *testing.T) {
	r := newRig(t, nil)
	disabled, _ := addClient(t, r.clients, KeyOptions{Name: "disabled"}, func(c *ClientRecord) { c.Disabled = true })
	roleless, _ := addClient(t, r.clients, KeyOptions{Name: "roleless", Roles: []string{"GENERATOR", "OPTOUT"}}, nil)
	mapper, _ := addClient(t, r.clients, KeyOptions{Name: "mapper", Roles: []string{"generator", "Mapper"}}, nil)
	sharer, _ := addClient(t, r.clients, KeyOptions{Name: "sharer", Roles: []string{"SHARER"}}, nil)
	unprefixed := "old-key"
	addClient(t, r.clients, KeyOptions{Name: "old"}, func(c *ClientRecord) {
		salt, _ := base64.StdEncoding.DecodeString(c.KeySalt)
		c.KeyHash = base64.StdEncoding.EncodeToString(hashKey(salt, unprefixed))
	})
	r.server.Refresh(t.Context())
	body := []byte("not looked at before the key")
	for name, tc := range map[string]struct {
		header string
		status int
	}{
		"none":             {"", 401},
		"another scheme":   {"Basic " + r.key, 401},
		"unknown":          {"Bearer " + strings.Replace(r.key, ".", "x.", 1), 401},
		"unknown old":      {"Bearer nonsense", 401},
		"huge site number": {"Bearer EUID-C-P-99999999999999999999-abcdef." + strings.Repeat("A", 38), 401},
		"disabled":         {"Bearer " + disabled, 401},
		"role-less":        {"Bearer " + roleless, 401},
		"id reader":        {"Bearer " + r.key, 400},
		"lower case":       {"bearer " + r.key, 400},
		"mapper":           {"Bearer " + mapper, 400},
		"sharer":           {"Bearer " + sharer, 400},
		"unprefixed":       {"Bearer " + unprefixed, 400},
	} {
		for range 2 { // also from the cache
			w := r.post(body, func(req *http.Request) { req.Header.Set("Authorization", tc.header) })
			if w.Code != tc.status {
				t.Errorf("%s: %d", name, w.Code)
			}
			if w.Code == 401 && (w.Body.String() != `{"status":"unauthorized"}` || w.Header().Get("Content-Type") != typeJSON) {
				t.Errorf("%s: %s %s", name, w.Header().Get("Content-Type"), w.Body)
			}
		}
	}
}

// A changed clients file counts from the next refresh on; a bad one changes
// nothing but the health.
func TestClientsReload(t *testing.T) {
	r := newRig(t, nil)
	if got := r.ask(euidV3); got != oneOptedOut {
		t.Fatal(got)
	}
	good, err := os.ReadFile(r.clients)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"not JSON":   "[{",
		"null":       "null",
		"an object":  "{}",
		"bad hash":   `[{"key_hash":"AA==","key_salt":"` + vectorSecret + `","secret":"` + vectorSecret + `"}]`,
		"bad salt":   strings.Replace(string(good), `"key_salt": "`, `"key_salt": "?`, 1),
		"bad secret": strings.Replace(string(good), `"secret": "`, `"secret": "AAAA`, 1),
	} {
		if err := os.WriteFile(r.clients, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		r.server.Refresh(t.Context())
		if got := r.ask(euidV3); got != oneOptedOut {
			t.Errorf("%s: %s", name, got)
		}
		if w := r.get(HealthPath); w.Code != 503 || !strings.Contains(w.Body.String(), "clients file") {
			t.Errorf("%s: health %d %s", name, w.Code, w.Body)
		}
	}
	if err := os.WriteFile(r.clients, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.Refresh(t.Context())
	if w := r.get(HealthPath); w.Code != 200 {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if w := r.post(nil, nil); w.Code != 401 {
		t.Errorf("a removed client gets %d", w.Code)
	}
	if strings.Contains(r.logged.String(), "AAAA") || strings.Contains(r.logged.String(), r.key) {
		t.Error("the log shows a key or a secret")
	}
}

func TestServerNeedsClients(t *testing.T) {
	_, err := NewServer(Options{Clients: filepath.Join(t.TempDir(), "none.json")})
	if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
}

func FuzzParseClients(f *testing.F) {
	_, _, record, err := NewKey(KeyOptions{Scope: schemas.EUID, SiteID: 1, Name: "n"})
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal([]ClientRecord{record})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"roles":null}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := parseClients(b)
		if (set == nil) != (err != nil) {
			t.Fatal("both or neither of clients and error")
		}
		if err != nil {
			return
		}
		for _, c := range set.all {
			if c.cipher == nil || len(c.hash) != 64 || c.name == "" {
				t.Fatal("an incomplete client")
			}
		}
		if set.find("nobody") != nil {
			t.Fatal("found nobody")
		}
	})
}
