package bigquery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"optsweep/connectors/bigquery/bqtest"
)

// rights stands in for IAM, which the emulator has not.
type rights struct {
	mu     sync.Mutex
	denied func(c bqtest.Call) bool
	lacks  []string                                 // on tables
	edit   func(c bqtest.Call, body map[string]any) // of answers
	made   []string                                 // tables
	gone   int
}

func (r *rights) hook(c bqtest.Call) *bqtest.Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasSuffix(c.Path, ":testIamPermissions") {
		var asked struct{ Permissions []string }
		_ = json.Unmarshal(c.Body, &asked)
		asked.Permissions = slices.DeleteFunc(asked.Permissions, func(p string) bool { return slices.Contains(r.lacks, p) })
		body, _ := json.Marshal(map[string]any{"permissions": asked.Permissions})
		return &bqtest.Response{Status: http.StatusOK, Body: body}
	}
	if r.denied != nil && r.denied(c) {
		return bqtest.Fail(http.StatusForbidden, "accessDenied", "Access Denied: no such right on "+c.Path)
	}
	switch {
	case c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/tables"):
		r.made = append(r.made, string(c.Body))
	case c.Method == http.MethodDelete:
		r.gone++
	}
	if r.edit == nil || c.Method != http.MethodGet {
		return nil
	}
	return &bqtest.Response{Forward: true, Edit: func(status int, body []byte) (int, []byte) {
		var m map[string]any
		if status != http.StatusOK || json.Unmarshal(body, &m) != nil {
			return status, body
		}
		r.edit(c, m)
		body, _ = json.Marshal(m)
		return status, body
	}}
}

// clinic is a table that Doctor looks at.
func clinic(t *testing.T, r *rights, w Write) (*bench, *Table) {
	em := bqtest.New(t)
	b := newBenchAt(t, em, em.Hooked(t, r.hook))
	b.client.Impersonate = "sweeper@p.iam.gserviceaccount.com"
	b.data.Create(b, "crm", crmSchema[:2], [][]any{{1, "a"}, {2, "b"}})
	return b, b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: w})
}

var checks = []string{"credentials", "jobs", "table", "read", "location", "staging", "expiry", "read_api", "write_api", "write", "views"}

// examine runs Doctor; its findings are by name.
func (b *bench) examine(t *Table) map[string]Finding {
	b.Helper()
	found := map[string]Finding{}
	var names []string
	for _, f := range t.Doctor(b.Context()) {
		b.Logf("%s %s: %s\n%s", f.Status, f.Name, f.Detail, f.Fix)
		found[f.Name], names = f, append(names, f.Name)
		if f.Status == Fail && f.Fix == "" {
			b.Errorf("%s failed without a fix", f.Name)
		}
	}
	if !slices.Equal(names, checks) {
		b.Errorf("the checks are %q", names)
	}
	return found
}

// statuses lists the checks that are not ok.
func statuses(found map[string]Finding) string {
	var list []string
	for _, name := range checks {
		if s := found[name].Status; s != OK {
			list = append(list, fmt.Sprint(name, " ", s))
		}
	}
	return strings.Join(list, ", ")
}

func TestDoctor(t *testing.T) {
	column := Write{Mode: Column, Column: "opted_out_since"}
	suppression := Write{Mode: Suppression, Views: true}
	dataset := func(edit func(m map[string]any)) func(bqtest.Call, map[string]any) {
		return func(c bqtest.Call, m map[string]any) {
			if m["kind"] == "bigquery#dataset" || m["datasetReference"] != nil {
				edit(m)
			}
		}
	}
	for name, c := range map[string]struct {
		write  Write
		rights *rights
		want   string            // what is not ok
		says   map[string]string // in the detail or fix of checks
	}{
		"column": {column, &rights{}, "expiry warn, write_api skip, views skip", map[string]string{
			"credentials": "as sweeper@p.iam.gserviceaccount.com", "table": "has 2 rows", "read": "USD", "location": "is in EU", "expiry": "bq update --default_table_expiration=604800 optsweep-test:t_", "write": "rows of",
		}},
		"stream":      {Write{Mode: Column, Column: "opted_out_since", Stream: true}, &rights{}, "expiry warn, views skip", nil},
		"remove":      {Write{Mode: Remove, DropRemoved: true}, &rights{lacks: []string{"bigquery.tables.update"}}, "expiry warn, write_api skip, views skip", nil},
		"suppression": {suppression, &rights{}, "expiry skip, write_api skip", nil},
		"no jobs": {column, &rights{denied: func(c bqtest.Call) bool { _, ok := c.Inserts(); return ok }}, "jobs fail, read fail, expiry warn, write_api skip, views skip",
			map[string]string{"jobs": "gcloud projects add-iam-policy-binding optsweep-test --member='serviceAccount:sweeper@p.iam.gserviceaccount.com' --role='roles/bigquery.jobUser'"}},
		"no table": {suppression, &rights{denied: func(c bqtest.Call) bool { return strings.HasSuffix(c.Path, "/tables/crm") }}, "table fail, read skip, expiry skip, write_api skip",
			map[string]string{"table": "GRANT `roles/bigquery.dataViewer` ON TABLE `optsweep-test`.`t_"}},
		"no tables in staging": {column, &rights{denied: func(c bqtest.Call) bool { return c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/tables") }},
			"staging fail, expiry warn, read_api skip, write_api skip, views skip", map[string]string{"staging": "GRANT `roles/bigquery.dataEditor` ON SCHEMA `optsweep-test`.`t_"}},
		"no tables in the write dataset": {suppression, &rights{denied: func(c bqtest.Call) bool { return c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/tables") }},
			"staging fail, expiry skip, read_api skip, write_api skip, write skip", nil},
		"no changes": {column, &rights{lacks: []string{"bigquery.tables.updateData"}}, "expiry warn, write_api skip, write fail, views skip",
			map[string]string{"write": "GRANT `roles/bigquery.dataEditor` ON TABLE `optsweep-test`.`t_"}},
		"no new column": {column, &rights{lacks: []string{"bigquery.tables.update"}}, "expiry warn, write_api skip, write fail, views skip", map[string]string{"write": "bigquery.tables.update is not allowed"}},
		"another location": {column, &rights{edit: dataset(func(m map[string]any) { m["location"] = "us-east1" })}, "location fail, expiry warn, write_api skip, views skip",
			map[string]string{"location": "set bigquery.location: us-east1"}},
		"no datasets": {column, &rights{denied: func(c bqtest.Call) bool {
			return c.Method == http.MethodGet && strings.Count(c.Path, "/") == 4 && !strings.Contains(c.Path, "jobs")
		}},
			"location skip, expiry skip, write_api skip, views skip", nil},
		"expiring list": {suppression, &rights{edit: dataset(func(m map[string]any) { m["defaultTableExpirationMs"] = "3600000" })}, "expiry skip, write_api skip, write fail",
			map[string]string{"write": "bq update --default_table_expiration=0"}},
		"expiring staging": {column, &rights{edit: dataset(func(m map[string]any) { m["defaultTableExpirationMs"] = "3600000" })}, "write_api skip, views skip", map[string]string{"expiry": "1h0m0s"}},
		"streaming": {column, &rights{edit: func(c bqtest.Call, m map[string]any) {
			if strings.HasSuffix(c.Path, "/tables/crm") {
				m["streamingBuffer"] = map[string]any{"estimatedRows": "17", "oldestEntryTime": "1764547200000"}
			}
		}}, "expiry warn, write_api skip, write warn, views skip", map[string]string{"write": "about 17 rows"}},
		"authorized": {Write{Mode: Suppression, Views: true, Authorized: true}, &rights{}, "expiry skip, write_api skip, views skip",
			map[string]string{"views": "gcloud iam roles create optsweepAuthorizer --project=optsweep-test --permissions=bigquery.datasets.get,bigquery.datasets.update"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, table := clinic(t, c.rights, c.write)
			found := b.examine(table)
			if got := statuses(found); got != c.want {
				t.Errorf("not ok are %s; want %s", got, c.want)
			}
			for check, text := range c.says {
				if f := found[check]; !strings.Contains(f.Detail+"\n"+f.Fix, text) {
					t.Errorf("%s does not say %q: %s\n%s", check, text, f.Detail, f.Fix)
				}
			}
			for _, made := range c.rights.made {
				if !strings.Contains(made, `"tableId":"`+probePrefix) || !strings.Contains(made, `"expirationTime"`) {
					t.Errorf("made a table that stays: %s", made)
				}
			}
			if len(c.rights.made) != c.rights.gone {
				t.Errorf("made %d tables, removed %d", len(c.rights.made), c.rights.gone)
			}
		})
	}
}

// With nobody to answer, or no credentials, nothing else is tried.
func TestDoctorWithoutCredentials(t *testing.T) {
	em := bqtest.New(t)
	for name, endpoint := range map[string]string{
		"unauthorized": em.Hooked(t, func(bqtest.Call) *bqtest.Response {
			return bqtest.Fail(http.StatusUnauthorized, "authError", "Invalid Credentials")
		}),
		"no server": "http://127.0.0.1:1",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchAt(t, em, endpoint)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			found := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Column, Column: "f"}}).Doctor(ctx)
			if f := found[0]; f.Status != Fail || !strings.Contains(f.Fix, "gcloud auth") {
				t.Errorf("%+v", f)
			}
			for i, f := range found {
				if f.Name != checks[i] || i > 0 && f.Status != Skip {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// Without the Storage Read API a run is slow, without the Storage Write API it
// fails if it is to use it.
func TestDoctorStorage(t *testing.T) {
	r := &rights{}
	em := bqtest.New(t)
	b := newBenchAt(t, em, em.Hooked(t, r.hook))
	b.data.Create(b, "crm", crmSchema[:2], [][]any{{1, "a"}})
	deny := option.WithGRPCDialOption(grpc.WithUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
		return status.Error(codes.PermissionDenied, "no such right")
	}))
	_ = b.client.read.Close()
	_ = b.client.write.Close()
	var err error
	if b.client.read, err = storage.NewBigQueryReadClient(t.Context(), append(em.GRPCOptions(), deny)...); err != nil {
		t.Fatal(err)
	}
	if b.client.write, err = storage.NewBigQueryWriteClient(t.Context(), append(em.GRPCOptions(), deny)...); err != nil {
		t.Fatal(err)
	}
	found := b.examine(b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: Column, Column: "f", Stream: true}}))
	if got := statuses(found); got != "expiry warn, read_api warn, write_api fail, views skip" {
		t.Error(got)
	}
	if f := found["read_api"]; !strings.Contains(f.Fix, readSessionUser) || !strings.Contains(f.Detail, "slow REST") {
		t.Errorf("%+v", f)
	}
	if f := found["write_api"]; !strings.Contains(f.Fix, dataEditor) {
		t.Errorf("%+v", f)
	}
}

// The write dataset is tried out apart from the staging dataset.
func TestDoctorWriteDataset(t *testing.T) {
	r := &rights{}
	em := bqtest.New(t)
	b := newBenchAt(t, em, em.Hooked(t, r.hook))
	b.data.Create(b, "crm", crmSchema[:2], [][]any{{1, "a"}})
	other := em.Dataset(t)
	write := Write{Mode: Suppression, Dataset: TableRef{Project: other.Project, Dataset: other.ID}}
	table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: write})
	if got := statuses(b.examine(table)); got != "expiry warn, write_api skip, views skip" {
		t.Error(got)
	}
	if len(r.made) != 2 || r.gone != 2 {
		t.Errorf("made %d tables, removed %d", len(r.made), r.gone)
	}
	other.Create(t, SuppressionTable, suppressionSchema(), nil)
	r.lacks = []string{"bigquery.tables.updateData"}
	if f := b.examine(table)["write"]; f.Status != Fail || !strings.Contains(f.Fix, "SCHEMA `"+other.Project+"`.`"+other.ID+"`") {
		t.Errorf("%+v", f)
	}
	r.denied = func(c bqtest.Call) bool {
		return c.Method == http.MethodPost && strings.HasSuffix(c.Path, "/datasets/"+other.ID+"/tables")
	}
	found := b.examine(table)
	if got := statuses(found); got != "expiry warn, write_api skip, write fail, views skip" {
		t.Error(got)
	}
	if f := found["write"]; !strings.Contains(f.Fix, "SCHEMA `"+other.Project+"`.`"+other.ID+"`") || strings.Contains(f.Fix, b.data.ID) {
		t.Errorf("more or less than what is lacking: %+v", f)
	}
}

func TestLeastPrivilege(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(key, []byte(`{"type": "service_account", "client_email": "sweeper@my-project.iam.gserviceaccount.com", "private_key": "secret"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Connection{Project: "my-project", Staging: TableRef{Project: "my-project", Dataset: "staging"}, KeyFile: key}
	for name, o := range map[string]Options{
		"column": {Ref: TableRef{"data-project", "ads", "segments-v2"}, Write: Write{Mode: Column}},
		"suppression": {Ref: TableRef{"data-project", "ads", "segments"}, Write: Write{
			Mode: Suppression, Dataset: TableRef{Project: "my-project", Dataset: "optsweep"}, Views: true, Authorized: true,
		}},
	} {
		got := LeastPrivilege(o, c)
		path := filepath.Join("testdata", "privileges_"+name+".txt")
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("%s (%v): got\n%s", path, err, got)
		}
	}
	if got := accountOf(Connection{KeyFile: key, Impersonate: "x@y"}); got != "x@y" {
		t.Error(got)
	}
	if got := accountOf(Connection{}); got != "SERVICE_ACCOUNT_EMAIL" {
		t.Error(got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 48 << 30: "48.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
