package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

// good is a job with every key of kind private.
const good = `version: 1
job: crm-audiences
scope: euid
environment: production
operator:
  kind: private
  url: https://operator.example.com/v2/
  api_key: {env: EUID_API_KEY}
  client_secret:
    file: secrets/client
  parallel: 8
  binary: true
  canaries: {file: canaries.csv}
  ca_file: /etc/ca.pem
  allow_plain_http: [LocalHost, 10.0.0.1]
  allow_host_mismatch: true
workspace: ../ws
limits: {memory: 1.5GiB, max_new_flags: 7.5%, max_quarantined: 0%, max_duration: 2d, workers: 3, max_row_drop: 25%, zero_hits: allow}
tables:
  - name: crm
    parquet: {path: "data/crm/**/*.parquet", id_column: euid}
    write: {mode: column, column: flagged}
  - name: segments
    parquet:
      path: seg/[ab].parquet
      id_column: advertising id
run_tables: {parquet: out/run-tables}
`

func TestParseGivesEveryValue(t *testing.T) {
	got, err := Parse("job.yaml", []byte(good), "/jobs/here")
	if err != nil {
		t.Fatal(err)
	}
	want := &Job{
		File: "job.yaml", Name: "crm-audiences", Scope: schemas.EUID, Environment: schemas.Production,
		Operator: Operator{
			Kind: Private, URL: "https://operator.example.com",
			APIKey: SecretRef{Env: "EUID_API_KEY"}, ClientSecret: SecretRef{File: "/jobs/here/secrets/client"},
			Parallel: 8, Binary: true, CanariesFile: "/jobs/here/canaries.csv", CAFile: "/etc/ca.pem",
			AllowPlainHTTP: []string{"localhost", "10.0.0.1"}, AllowHostMismatch: true,
		},
		Workspace: "/jobs/ws", RunTables: RunTables{Parquet: "/jobs/here/out/run-tables"},
		Limits: Limits{MemoryBytes: 3 << 29, MaxNewFlags: 7.5, MaxQuarantined: 0, MaxRowDrop: 25, AllowZeroHits: true, MaxDuration: 48 * time.Hour, Workers: 3},
		Tables: []Table{
			{Name: "crm", Parquet: Parquet{Path: "/jobs/here/data/crm/**/*.parquet", IDColumn: "euid"},
				Write: Write{Mode: Column, Column: "flagged"}},
			{Name: "segments", Parquet: Parquet{Path: "/jobs/here/seg/[ab].parquet", IDColumn: "advertising id"},
				Write: Write{Mode: Column, Column: "opted_out_since"}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if rules := got.Rules(); rules != (schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}) {
		t.Errorf("rules %+v", rules)
	}
}

// embedded is the shortest job.
const embedded = `version: 1
job: j
scope: uid2
environment: integration
operator: {kind: embedded, optout_log: log}
workspace: ws
tables: [{name: t, parquet: {path: "d/*/x", id_column: id}}]
`

func TestDefaults(t *testing.T) {
	got, err := Parse("job.yaml", []byte(embedded+"limits:\n"), "/b*[e")
	if err != nil {
		t.Fatal(err)
	}
	if got.Limits != (Limits{1 << 30, 5, 1, 50, false, 20 * time.Hour, 0}) {
		t.Errorf("limits %+v", got.Limits)
	}
	if got.Operator.Parallel != 1 || got.Operator.OptOutLog != "/b*[e/log" {
		t.Errorf("operator %+v", got.Operator)
	}
	if table := got.Tables[0]; table.Write != (Write{Mode: Column, Column: "opted_out_since"}) || table.Parquet.Path != `/b\*\[e/d/*/x` {
		t.Errorf("table %+v", table)
	}
}

// TestColumnShapes: what is left out leaves nothing in the job, so that the digest
// of older job files stays the same.
func TestColumnShapes(t *testing.T) {
	for text, want := range map[string]Table{
		`parquet: {path: d, id_column: "ids[].value", id_encoding: binary}, write: {type: int64}`: {
			Parquet: Parquet{Path: "/d", IDColumn: "ids[].value", IDEncoding: "binary"}, Write: Write{Mode: Column, Column: "opted_out_since", Type: "int64"}},
		`parquet: {path: d, id_column: id, id_encoding: base64}, write: {type: timestamp}`: {
			Parquet: Parquet{Path: "/d", IDColumn: "id", IDEncoding: "base64"}, Write: Write{Mode: Column, Column: "opted_out_since"}},
	} {
		want.Name = "t"
		got, err := Parse("job.yaml", []byte(strings.Replace(embedded, `parquet: {path: "d/*/x", id_column: id}`, text, 1)), "/")
		if err != nil || !reflect.DeepEqual(got.Tables[0], want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

type problemCase struct {
	name, base, old, new string
	want                 []string
}

// problemCases change one thing in a good file; each gives exactly the problems
// listed, as the starts of their lines.
func problemCases() []problemCase {
	public := strings.NewReplacer("kind: private", "kind: public", "  parallel: 8\n", "").Replace(good)
	return []problemCase{
		{"unknown key near", good, "workspace:", "worksapce:", []string{
			"f:1:1: workspace: is missing", "f:17:1: worksapce: unknown key (did you mean workspace?)"}},
		{"case and dashes", good, "id_column: euid", "ID-Column: euid", []string{
			"f:21:14: tables[0].parquet.id_column: is missing", "f:21:46: tables[0].parquet.ID-Column: unknown key (did you mean id_column?)"}},
		{"encoding of ids", good, "id_column: euid", "id_column: euid, id_encoding: hex", []string{
			"f:21:76: tables[0].parquet.id_encoding: must be base64 or binary"}},
		{"type of the flags", good, "column: flagged", "column: flagged, type: int32", []string{
			"f:22:50: tables[0].write.type: must be timestamp or int64"}},
		{"not yet", good, "workspace:", "reports: {cron: x}\nworkspace:", []string{
			"f:17:1: reports: unknown key (known here: bigquery, environment, heartbeat, job,"}},
		{"key that may be a secret is not repeated", good, "  ca_file: ", "  c9+/secretsecretsecretsecret: ", []string{
			"f:14:3: operator: unknown key (known here: allow_host_mismatch,"}},
		{"twice", good, "workspace: ../ws", "workspace: ../ws\njob: b", []string{
			"f:18:1: job: is given twice, first on line 2"}},
		{"version", good, "version: 1", "version: 2", []string{"f:1:10: version: must be 1 ("}},
		{"version text", good, "version: 1", "version: '1'", []string{"f:1:10: version: must be 1 ("}},
		{"job name", good, "crm-audiences", "CRM", []string{"f:2:6: job: must be 1 to 63 of a to z"}},
		{"number for text", good, "crm-audiences", "12", []string{"f:2:6: job: must be text (put it in quotes)"}},
		{"scope", good, "scope: euid", "scope: uid", []string{"f:3:8: scope: must be euid or uid2 (did you mean euid?)"}},
		{"environment", good, "production", "prod", []string{"f:4:14: environment: must be production or integration"}},
		{"no value", good, "environment: production", "environment:", []string{"f:4:1: environment: has no value"}},
		{"kind", good, "kind: private", "kind: Private", []string{"f:6:9: operator.kind: must be public or private or embedded (did you mean private?)"}},
		{"public is not parallel", public, "  binary: true", "  parallel: 2", []string{"f:11:3: operator.parallel: is only for kind private"}},
		{"private needs a url", good, "  url: https://operator.example.com/v2/\n", "", []string{"f:6:3: operator.url: is missing"}},
		{"public needs keys", public, "  api_key: {env: EUID_API_KEY}\n", "", []string{"f:6:3: operator.api_key: is missing"}},
		{"public has no log", public, "binary: true", "optout_log: x", []string{"f:11:3: operator.optout_log: is only for kind embedded"}},
		{"embedded needs a log", embedded, ", optout_log: log", "", []string{"f:5:11: operator.optout_log: is missing"}},
		{"embedded refuses keys", embedded, "optout_log: log", "optout_log: log, url: https://x, api_key: {env: A}, binary: false", []string{
			"f:5:45: operator.url: is not for kind embedded", "f:5:61: operator.api_key: is not for", "f:5:80: operator.binary: is not for"}},
		{"parallel", good, "parallel: 8", "parallel: 65", []string{"f:11:13: operator.parallel: must be a whole number from 1 to 64"}},
		{"boolean", good, "binary: true", "binary: yes", []string{"f:12:11: operator.binary: must be true or false"}},
		{"canaries without value", good, "canaries: {file: canaries.csv}", "canaries:", []string{"f:13:3: operator.canaries: has no value"}},
		{"canaries without file", good, "{file: canaries.csv}", "{}", []string{"f:13:13: operator.canaries.file: is missing"}},
		{"canaries as text", good, "{file: canaries.csv}", "canaries.csv", []string{"f:13:13: operator.canaries: must be a mapping"}},
		{"url", good, "https://operator.example.com/v2/", "operator.example.com", []string{"f:7:8: operator.url: must be a URL"}},
		{"url without host", good, "https://operator.example.com/v2/", "https:///v2", []string{"f:7:8: operator.url: must be a URL"}},
		{"url with password", good, "https://op", "https://u:p@op", []string{"f:7:8: operator.url: must not hold a user name"}},
		{"url with query", good, "/v2/", "/v2/?a=b", []string{"f:7:8: operator.url: must not hold a query"}},
		{"plain http", good, "https://op", "http://op", []string{"f:7:8: operator.url: plain HTTP would show"}},
		{"hosts as text", good, "[LocalHost, 10.0.0.1]", "localhost", []string{"f:15:21: operator.allow_plain_http: must be a list"}},
		{"host with port", good, "10.0.0.1", "a:80", []string{"f:15:33: operator.allow_plain_http[1]: must be a host name or an IP"}},
		{"home folder", good, "../ws", "~/ws", []string{"f:17:12: workspace: ~ is not expanded"}},
		{"variable", good, "../ws", "${HOME}/ws", []string{"f:17:12: workspace: variables are not expanded"}},
		{"bucket", good, `"data/crm`, `"gs://b/data/crm`, []string{"f:21:21: tables[0].parquet.path: must be a path on this machine"}},
		{"memory unit", good, "1.5GiB", "1024", []string{"f:18:18: limits.memory: must be a size in KiB"}},
		{"memory too small", good, "1.5GiB", "63MiB", []string{"f:18:18: limits.memory: must be at least 64MiB"}},
		{"memory too large", good, "1.5GiB", "99999999999999999999GB", []string{"f:18:18: limits.memory: must be at least"}},
		{"percent without sign", good, "7.5%", "7.5", []string{"f:18:41: limits.max_new_flags: must be a share"}},
		{"percent above", good, "7.5%", "101%", []string{"f:18:41: limits.max_new_flags: must be a share"}},
		{"percent not a number", good, "7.5%", "NaN%", []string{"f:18:41: limits.max_new_flags: must be a share"}},
		{"row drop", good, "25%", "-1%", []string{"f:18:112: limits.max_row_drop: must be a share"}},
		{"zero hits", good, "zero_hits: allow", "zero_hits: warn", []string{"f:18:128: limits.zero_hits: must be stop or allow"}},
		{"duration", good, "2d", "2 days", []string{"f:18:82: limits.max_duration: must be a time span"}},
		{"duration zero", good, "2d", "0s", []string{"f:18:82: limits.max_duration: must be a time span"}},
		{"duration overflow", good, "2d", "9999999d", []string{"f:18:82: limits.max_duration: must be a time span"}},
		{"workers", good, "workers: 3", "workers: 0", []string{"f:18:95: limits.workers: must be a whole number from 1"}},
		{"no tables", embedded, `[{name: t, parquet: {path: "d/*/x", id_column: id}}]`, "[]", []string{"f:7:9: tables: is empty"}},
		{"tables null", embedded, `[{name: t, parquet: {path: "d/*/x", id_column: id}}]`, "", []string{"f:7:1: tables: has no value"}},
		{"table names", good, "segments", "CRM", []string{"f:23:11: tables[1].name: is the name of an earlier table too"}},
		{"table name", good, "name: crm", "name: ../crm", []string{"f:20:11: tables[0].name: must be a letter or digit"}},
		{"mode", good, "mode: column", "mode: suppress", []string{"f:22:19: tables[0].write.mode: must be column or suppression or remove"}},
		{"column of mode suppression", good, "mode: column", "mode: suppression", []string{"f:22:32: tables[0].write.column: is not for mode suppression"}},
		{"column and keep", good, "mode: column", "mode: remove, keep: 1", []string{"f:22:33: tables[0].write.keep: must be true or false", "f:22:36: tables[0].write.column: is not for mode remove"}},
		{"path of mode column", good, "mode: column", "path: x, keep: true", []string{"f:22:13: tables[0].write.path: is not for mode column", "f:22:22: tables[0].write.keep: is not for mode column"}},
		{"keys of mode suppression", good, "mode: column, column: flagged", "mode: suppression, keep: true", []string{"f:22:32: tables[0].write.keep: is not for mode suppression"}},
		{"folder for nothing", good, "mode: column, column: flagged", "mode: remove, keep: false, path: x", []string{"f:22:40: tables[0].write.path: is for rows that are kept"}},
		{"list among the data", good, "mode: column, column: flagged", "mode: suppression, path: data/crm/a/list.parquet", []string{"f:22:38: tables[0].write.path: would be taken for data: it matches tables[0].parquet.path"}},
		{"quarantine among other data", good, "      id_column: advertising id", "      id_column: advertising id\n    write: {mode: remove, path: data/crm/gone}", []string{"f:27:33: tables[1].write.path: would be taken for data: it matches tables[0].parquet.path"}},
		{"list of two tables", strings.Replace(good, "mode: column, column: flagged", "mode: suppression, path: l", 1), "      id_column: advertising id", "      id_column: advertising id\n    write: {mode: suppression, path: l}", []string{"f:27:38: tables[1].write.path: is that of another table too"}},
		{"id column overwritten", good, "column: flagged", "column: euid", []string{"f:22:12: tables[0].write: would overwrite the id column"}},
		{"bad pattern", good, "[ab]", "[ab", []string{"f:25:13: tables[1].parquet.path: is not a valid pattern"}},
		{"folder", good, "seg/[ab].parquet", "seg/", []string{"f:25:13: tables[1].parquet.path: names a folder"}},
		{"empty text", good, "advertising id", "''", []string{"f:26:18: tables[1].parquet.id_column: is empty"}},
		{"control character", good, "advertising id", `"a\nb"`, []string{"f:26:18: tables[1].parquet.id_column: holds a line break"}},
		{"bigquery beside parquet", good, "    parquet:\n", "    bigquery: {table: p.d.t, id_column: id, staging: p.s}\n    parquet:\n", []string{
			"f:23:5: tables[1].write: is missing (choose write:", "f:25:5: tables[1].parquet: a table is either Parquet or BigQuery"}},
		{"run tables in data", good, "out/run-tables", "data/crm/out", []string{"f:27:23: run_tables.parquet: lies inside the data folder of table crm"}},
		{"run tables in workspace", good, "out/run-tables", "../ws/out", []string{"f:27:23: run_tables.parquet: lies inside the workspace"}},
		{"run tables nowhere", good, "{parquet: out/run-tables}", "{}", []string{"f:27:13: run_tables.parquet: is missing"}},
		{"workspace in data", good, "../ws", "data/crm/ws", []string{"f:17:12: workspace: lies inside the data folder of tables[0].parquet.path"}},
		{"data in workspace", good, "seg/[ab].parquet", "../ws/seg/a.parquet", []string{"f:25:13: tables[1].parquet.path: lies inside the workspace"}},
		{"anchor", good, "job: crm-audiences", "job: &a crm", []string{"f:2:6: job: anchors, aliases"}},
		{"merge key", good, "limits: {", "limits: {<<: {a: b}, ", []string{"f:18:10: limits: merge keys and complex keys"}},
		{"second document", good, "tables:", "---\ntables:", []string{"f:20:1: a second YAML document starts here"}},
		{"syntax", good, "workspace: ../ws", "workspace: [", []string{"f:"}},
		{"not a mapping", "a", "a", "- a", []string{"f:1:1: must be a mapping"}},
		{"empty", "a", "a", "# nothing\n", []string{"f:1:1: the file is empty"}},
		{"too large", "a", "a", strings.Repeat("#", maxFile+1), []string{"f:1:1: the file is larger than 256 KiB"}},
	}
}

func TestProblems(t *testing.T) {
	for _, c := range problemCases() {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(c.base, c.old) {
				t.Fatalf("%q is not in the file", c.old)
			}
			job, err := Parse("f", []byte(strings.Replace(c.base, c.old, c.new, 1)), "/jobs")
			if job != nil || err == nil {
				t.Fatalf("accepted: %+v", job)
			}
			if schemas.ClassOf(err) != schemas.Usage {
				t.Errorf("class %s", schemas.ClassOf(err))
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(lines), len(c.want), err)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, c.want[i]) {
					t.Errorf("got  %s\nwant %s", line, c.want[i])
				}
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for given, want := range map[string]string{
		"https://Prod.EUID.eu":           "https://prod.euid.eu",
		"https://prod.euid.eu/v2/":       "https://prod.euid.eu",
		"https://gate.example/euid/v2":   "https://gate.example/euid",
		"http://localhost:8080/":         "http://localhost:8080",
		"http://[::1]:8080":              "http://[::1]:8080",
		"http://127.0.0.1:80/v2":         "http://127.0.0.1:80",
		"http://10.0.0.1:8080":           "http://10.0.0.1:8080", // listed
		"http://10.0.0.2:8080":           "",
		"http://localhost.example/":      "",
		"https://":                       "",
		"ftp://prod.euid.eu":             "",
		"https://prod.euid.eu:notaport/": "",
		"https://prod.euid.eu/#fragment": "",
		"https://prod.euid.eu/?":         "",
		"https://me@prod.euid.eu/":       "",
		"//prod.euid.eu":                 "",
	} {
		job, err := Parse("f", []byte(strings.Replace(good, "https://operator.example.com/v2/", `"`+given+`"`, 1)), "/jobs")
		switch {
		case err != nil && want != "":
			t.Errorf("%s: %v", given, err)
		case err == nil && job.Operator.URL != want:
			t.Errorf("%s: got %q, want %q", given, job.Operator.URL, want)
		}
	}
}

func TestSameFilesSameColumn(t *testing.T) {
	twice := strings.Replace(embedded, "}]\n", `}, {name: u, parquet: {path: "d/*/x", id_column: id}}]`+"\n", 1)
	_, err := Parse("f", []byte(twice), "/jobs")
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) != 1 || !strings.Contains(problems.List[0].Msg, "by table t already") {
		t.Errorf("got %v", err)
	}
	other := strings.Replace(twice, `{name: u, parquet: {path: "d/*/x", id_column: id}`, `{name: u, parquet: {path: "d/*/x", id_column: id}, write: {column: other}`, 1)
	if _, err := Parse("f", []byte(other), "/jobs"); err != nil {
		t.Errorf("another column: %v", err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("f", []byte("version: 3\njob: X\nscpoe: euid\noperator: {kind: public}\nlimits: 5\ntables:\n- nmae: a\n"), "/")
	want := `f:1:1: scope: is missing
f:1:1: environment: is missing
f:1:1: workspace: is missing
f:1:10: version: must be 1 (this program reads version 1 of the job file)
f:2:6: job: must be 1 to 63 of a to z, 0 to 9 and '-'
f:3:1: scpoe: unknown key (did you mean scope?)
f:4:11: operator.api_key: is missing
f:4:11: operator.client_secret: is missing
f:5:9: limits: must be a mapping (put its keys on lines of their own, further to the right)
f:7:3: tables[0].name: is missing
f:7:3: tables[0].parquet: is missing
f:7:3: tables[0].nmae: unknown key (did you mean name?)`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestSecretsAreNeverRepeated puts a secret where people put it by mistake.
func TestSecretsAreNeverRepeated(t *testing.T) {
	const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDMyYnk="
	for _, text := range []string{
		"api_key: SECRET", "api_key: 'SECRET'", "api_key: {SECRET}", "api_key: {value: SECRET}", "api_key: {SECRET: env}",
		"api_key: {env: SECRET}", "api_key: [SECRET]", "api_key: {env: A, SECRET: b}", "api_key: |\n    SECRET",
		"api_key: &SECRET a", "api_key: *SECRET", "api_key: !!str SECRET", "api_key: !SECRET x", "api_key:SECRET", "api_key SECRET", "SECRET", "SECRET: x",
		"api_key: @SECRET", "api_key: {env: {SECRET: x}}", "api_key: {SECRET: 1, SECRET: 2}", "api_key: \"SECRET", "api_key: {env: SECRET",
		"url: https://user:SECRET@host/", "url: http://SECRET", "url: SECRET://host", "binary: SECRET", "parallel: SECRET", "kind: SECRET",
		"api_key: {env: A, file: SECRET}", "apikey: SECRET", "? SECRET\n  : x", "<<: SECRET",
	} {
		data := strings.Replace(good, "  api_key: {env: EUID_API_KEY}\n", "  "+strings.ReplaceAll(text, "SECRET", secret)+"\n", 1)
		job, err := Parse("f", []byte(data), "/jobs")
		if err == nil {
			t.Errorf("%s: accepted: %+v", text, job.Operator)
			continue
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "c2Vjc") {
			t.Errorf("%s: the secret is repeated", text)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "job.yaml")
	_, err := Load(path)
	if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(schemas.HintOf(err), "optsweep init") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("folder: %v", err)
	}
	if err := os.WriteFile(path, []byte(embedded), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	job, err := Load("job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if job.File != "job.yaml" || job.Workspace != filepath.Join(dir, "ws") {
		t.Errorf("got %+v", job)
	}
}

func TestScaffoldIsAccepted(t *testing.T) {
	job, err := Parse("job.yaml", Scaffold(), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	if job.Operator.Kind != Public || job.Workspace != "/jobs/workspace" {
		t.Errorf("got %+v", job)
	}
	_, comment, found := strings.Cut(string(Scaffold()), "\n# schedule:\n")
	with, err := Parse("job.yaml", []byte(string(Scaffold())+"\nschedule:\n"+strings.ReplaceAll(comment, "#   ", "  ")), "/jobs")
	if err != nil || !found || with.Schedule == nil {
		t.Errorf("schedule: %v", err)
	}
	// Each of the operators in comments is accepted in place of the first.
	text := string(Scaffold())
	first := text[strings.Index(text, "operator:\n"):strings.Index(text, "\n# An operator of your own")]
	variants := strings.Split(text, "# operator:\n")
	if len(variants) != 3 {
		t.Fatalf("%d variants", len(variants)-1)
	}
	for _, variant := range variants[1:] {
		block := "operator:\n"
		for line := range strings.Lines(variant) {
			if !strings.HasPrefix(line, "#   ") {
				break
			}
			block += strings.TrimPrefix(line, "# ")
		}
		if _, err := Parse("job.yaml", []byte(strings.Replace(text, first, block, 1)), "/jobs"); err != nil {
			t.Errorf("%s%v", block, err)
		}
	}
}

// Those who are told in comments are accepted, too.
func TestScaffoldOfSignalsIsAccepted(t *testing.T) {
	text := string(Scaffold())
	at := strings.Index(text, "# metrics:\n")
	block, _, _ := strings.Cut(text[at-1:], "\n\n")
	job, err := Parse("job.yaml", []byte(text[:at]+strings.ReplaceAll(block, "\n# ", "\n")+"\n"), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	if s := job.Signals; len(s.Notify) != 2 || s.Heartbeat.URL.IsZero() || s.Tracing.Endpoint.IsZero() || s.Lineage.File == "" || s.Metrics.Textfile == "" {
		t.Errorf("got %+v", s)
	}
}

func TestDigest(t *testing.T) {
	parse := func(text string) *Job {
		t.Helper()
		job, err := Parse("f", []byte(text), "/jobs")
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	want := parse(good).Digest()
	if len(want) != 64 {
		t.Fatalf("digest %q", want)
	}
	for _, change := range [][2]string{ // what does not decide the result
		{"version: 1\n", "version: 1\n# a comment\n"},
		{"{env: EUID_API_KEY}", "{file: key}"}, {"parallel: 8", "parallel: 9"}, {"binary: true", "binary: false"},
		{"max_quarantined: 0%", "max_quarantined: 2%"}, {"out/run-tables", "run-tables"},
		{"workspace:", "metrics: {textfile: a.prom}\nlineage: {file: a}\ntracing: {endpoint: https://a.example}\nheartbeat: {url: https://a.example}\nnotify: [{kind: webhook, url: https://a.example, on: [failed]}]\nworkspace:"}, {"/etc/ca.pem", "ca.pem"}, {"/v2/\n", "\n"},
	} {
		if got := parse(strings.Replace(good, change[0], change[1], 1)).Digest(); got != want {
			t.Errorf("%q for %q changes the digest", change[1], change[0])
		}
	}
	for _, change := range [][2]string{
		{"crm-audiences", "crm"}, {"scope: euid", "scope: uid2"}, {"production", "integration"}, {"operator.example", "other.example"},
		{"../ws", "../ws2"}, {"name: crm", "name: crn"}, {"id_column: euid", "id_column: e"}, {"column: flagged", "column: f"},
		{"seg/[ab]", "seg/[abc]"}, {"kind: private", "kind: public\n  #"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if strings.Contains(text, "kind: public") {
			text = strings.Replace(text, "  parallel: 8\n", "", 1)
		}
		if got := parse(text).Digest(); got == want {
			t.Errorf("%q for %q leaves the digest", change[1], change[0])
		}
	}
}

func TestPercentExceeded(t *testing.T) {
	for _, c := range []struct {
		p           Percent
		part, whole int64
		want        bool
	}{{5, 5, 100, false}, {5, 6, 100, true}, {0, 0, 0, false}, {0, 1, 100, true}, {100, 7, 7, false}, {0.5, 5, 1000, false}, {0.5, 6, 1000, true}, {1, 0, 0, false}} {
		if got := c.p.Exceeded(c.part, c.whole); got != c.want {
			t.Errorf("%s: %d of %d: %t", c.p, c.part, c.whole, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, embedded, string(Scaffold()), "", "~", "a", "- a", "a: [", "version: 1\nversion: 1", "? a\n: b", "a: &b 1\nc: *b", "tables: [null, {}, 1]",
		"operator: {api_key: {env: }}", "limits: {memory: .inf, max_new_flags: .nan}", "\ufeffversion: 1", "%YAML 1.2\n---\n", "workspace: !!binary x", "tables:\n-\n- -\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return // the parser is quadratic in the depth of brackets
		}
		job, err := Parse("f", data, "/jobs")
		if (err == nil) != (job != nil) {
			t.Fatalf("job %v, error %v", job, err)
		}
		if err != nil {
			var problems *Problems
			if !errors.As(err, &problems) || len(problems.List) == 0 {
				t.Fatalf("not problems: %v", err)
			}
			for _, p := range problems.List {
				if p.Line < 1 || p.Msg == "" || p.File != "f" {
					t.Fatalf("problem %+v", p)
				}
			}
			return
		}
		if len(job.Tables) == 0 || job.Workspace == "" || job.Operator.Kind == "" || job.Limits.MemoryBytes < 64<<20 || len(job.Digest()) != 64 {
			t.Fatalf("accepted %+v", job)
		}
	})
}
