package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const warehouse = `version: 1
job: j
scope: euid
environment: production
operator: {kind: embedded, optout_log: log}
workspace: ws
bigquery:
  project: my-project
  location: EU
  staging: my-project.optsweep_staging
  reservation: projects/p/locations/EU/reservations/r
  max_bytes_billed: 2TiB
  usd_per_tib: 5
  job_timeout: 2h
  staging_expiry: 2d
  key_file: sa.json
  impersonate: sweep@my-project.iam.gserviceaccount.com
  runs: my-project.optsweep
tables:
  - name: segments
    bigquery:
      table: example.com:other.ads.segments
      id_column: euid
      filter: country = 'DE'
      partitions: ["day < DATE '2026-01-01'", "day >= DATE '2026-01-01'"]
    write: {mode: suppression, dataset: my-project.optsweep, authorized: true, stream: true}
  - name: crm
    bigquery: {table: my-project.ads.crm, id_column: [main, "ids[].value"], location: europe-west2, staging: my-project.uk}
    write: {mode: column}
  - name: joined
    bigquery:
      query: |
        SELECT euid -- of all
        FROM a.b
      id_column: euid
    write: {mode: suppression, dataset: my-project.optsweep, view: false}
  - name: gone
    bigquery: {table: my-project.ads.old, id_column: user.euid}
    write: {mode: remove, keep: false}
`

func TestBigQuery(t *testing.T) {
	got, err := Parse("f", []byte(warehouse), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	if want := (BigQuery{
		Project: "my-project", Reservation: "projects/p/locations/EU/reservations/r", MaxBytes: 2 << 40, USDPerTiB: 5, JobTimeout: 2 * time.Hour,
		Expiry: 48 * time.Hour, KeyFile: "/jobs/sa.json", Impersonate: "sweep@my-project.iam.gserviceaccount.com", Runs: "my-project.optsweep",
		Location: "EU", Staging: "my-project.optsweep_staging",
	}); got.BigQuery != want {
		t.Errorf("connection %+v", got.BigQuery)
	}
	staging := "my-project.optsweep_staging"
	want := []Table{
		{
			Name: "segments", BigQuery: &BigQueryTable{Table: "example.com:other.ads.segments", IDColumns: []string{"euid"}, Filter: "country = 'DE'",
				Partitions: []string{"day < DATE '2026-01-01'", "day >= DATE '2026-01-01'"}, Location: "EU", Staging: staging},
			Write: Write{Mode: Suppression, Dataset: "my-project.optsweep", View: true, Authorized: true, Stream: true},
		},
		{
			Name: "crm", BigQuery: &BigQueryTable{Table: "my-project.ads.crm", IDColumns: []string{"main", "ids[].value"}, Location: "europe-west2", Staging: "my-project.uk"},
			Write: Write{Mode: Column, Column: DefaultColumn},
		},
		{
			Name: "joined", BigQuery: &BigQueryTable{Query: "SELECT euid -- of all\nFROM a.b", IDColumns: []string{"euid"}, Location: "EU", Staging: staging},
			Write: Write{Mode: Suppression, Dataset: "my-project.optsweep"},
		},
		{
			Name: "gone", BigQuery: &BigQueryTable{Table: "my-project.ads.old", IDColumns: []string{"user.euid"}, Location: "EU", Staging: staging},
			Write: Write{Mode: Remove, Drop: true},
		},
	}
	for i := range want {
		if !reflect.DeepEqual(got.Tables[i], want[i]) {
			t.Errorf("table %+v %+v\nwant  %+v %+v", got.Tables[i], got.Tables[i].BigQuery, want[i], want[i].BigQuery)
		}
	}
}

func TestBigQueryDefaults(t *testing.T) {
	job := strings.NewReplacer(`parquet: {path: "d/*/x", id_column: id}`, `bigquery: {table: "example.com:p.d.t", id_column: id, staging: p.s}, write: {mode: column}`).Replace(embedded)
	got, err := Parse("f", []byte(job), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	want := BigQuery{Project: "example.com:p", MaxBytes: 1 << 40, USDPerTiB: 6.25, JobTimeout: 6 * time.Hour, Expiry: 7 * 24 * time.Hour}
	if got.BigQuery != want {
		t.Errorf("connection %+v", got.BigQuery)
	}
}

// warehouseProblems change one thing in warehouse.
var warehouseProblems = []struct{ name, old, new, want string }{
	{"no staging", "  staging: my-project.optsweep_staging\n", "", "tables[0].bigquery: has no dataset for staging tables"},
	{"runs without staging", "  staging: my-project.optsweep_staging\n", "", "bigquery.staging: is missing"},
	{"no mode", "{mode: column}", "{}", "tables[1].write.mode: is missing"},
	{"write without a value", "write: {mode: column}", "write:", "tables[1].write: is missing"},
	{"no dataset", "dataset: my-project.optsweep, view: false", "view: false", "tables[2].write.dataset: is missing"},
	{"keep without a dataset", "remove, keep: false", "remove", "tables[3].write.dataset: is missing"},
	{"wrong mode of a query", "{mode: suppression, dataset: my-project.optsweep, view: false}", "{mode: column}", "a query can only be reconciled with mode suppression"},
	{"short name of a table", "my-project.ads.old", "ads.old", "tables[3].bigquery.table: must be of the form project.dataset.table"},
	{"quote in a name", "my-project.ads.old", "my-project.ads.o`d", "tables[3].bigquery.table: must be of the form project.dataset.table"},
	{"path", "user.euid", "user..euid", "tables[3].bigquery.id_column: must be a path to a column"},
	{"path in a list", `"ids[].value"`, `"ids[0].value"`, "tables[1].bigquery.id_column[1]: must be a path to a column"},
	{"id column overwritten", "{mode: column}", "{mode: column, column: main}", "tables[1].write: would overwrite the id column"},
	{"column of another mode", "{mode: column}", "{mode: column, dataset: a.b}", "tables[1].write.dataset: is not for mode column"},
	{"insecure alone", "  key_file: sa.json\n", "  insecure: true\n", "bigquery.endpoint: is missing"},
	{"insecure elsewhere", "  key_file: sa.json\n", "  insecure: true\n  endpoint: http://127.0.0.1:1\n  grpc_endpoint: 10.0.0.1:2\n", "bigquery.insecure: would show ids to the network"},
	{"plain HTTP", "  key_file: sa.json\n", "  endpoint: http://bq.example.com\n", "bigquery.endpoint: plain HTTP would show"},
	{"grpc without a port", "  key_file: sa.json\n", "  grpc_endpoint: example.com\n", "bigquery.grpc_endpoint: must be a host and a port"},
	{"bytes", "2TiB", "2", "bigquery.max_bytes_billed: must be a size"},
	{"empty query", "        SELECT euid -- of all\n        FROM a.b\n", "\n", "tables[2].bigquery.query: is empty"},
	{"Parquet with a dataset", "bigquery: {table: my-project.ads.old, id_column: user.euid}\n    write: {mode: remove, keep: false}", "parquet: {path: a/*, id_column: b}\n    write: {mode: remove, dataset: a.b}",
		"tables[3].write.dataset: unknown key"},
}

func TestBigQueryProblems(t *testing.T) {
	for _, c := range warehouseProblems {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(warehouse, c.old) {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := Parse("f", []byte(strings.Replace(warehouse, c.old, c.new, 1)), "/jobs")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// Settings that only cost or connect do not make another job of it.
func TestBigQueryDigest(t *testing.T) {
	digest := func(old, new string) string {
		job, err := Parse("f", []byte(strings.Replace(warehouse, old, new, 1)), "/jobs")
		if err != nil {
			t.Fatal(err)
		}
		return job.Digest()
	}
	same := digest("", "")
	for _, s := range [][2]string{{"2TiB", "3TiB"}, {"usd_per_tib: 5", "usd_per_tib: 6"}, {"key_file: sa.json", "key_file: sb.json"}} {
		if digest(s[0], s[1]) != same {
			t.Errorf("%s changes the digest", s[1])
		}
	}
	for _, s := range [][2]string{{"'DE'", "'FR'"}, {"[main,", "[mein,"}, {"authorized: true", "authorized: false"}, {"my-project.ads.old", "my-project.ads.new"}} {
		if digest(s[0], s[1]) == same {
			t.Errorf("%s leaves the digest as it was", s[1])
		}
	}
}
