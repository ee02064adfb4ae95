package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"optsweep/schemas"
)

// node is a part of the schema.
type node = map[string]any

func rawSchema(t *testing.T) node {
	t.Helper()
	var root node
	if err := json.Unmarshal(schemas.JobSchema(), &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// judge compiles the schema; the result tells what it has against a job file.
func judge(t *testing.T) func(text string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemas.JobSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("job.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("job.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return s.Validate(instance)
	}
}

// resolve follows a reference; what stands beside it stays.
func resolve(root, n node) node {
	name, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	out := maps.Clone(root["$defs"].(node)[strings.TrimPrefix(name, "#/$defs/")].(node))
	maps.Copy(out, n)
	return out
}

// walk visits every key of the schema, by its path: "limits.memory" or
// "tables[].name". What is written to a table of BigQuery has a path of its own.
func walk(root, n node, path string, visit func(path string, n node)) {
	n = resolve(root, n)
	for _, choice := range list(n["anyOf"]) {
		if choice = resolve(root, choice); choice["type"] == "object" {
			walk(root, choice, path, visit)
		}
	}
	for _, branch := range []string{"then", "else"} {
		b, _ := n[branch].(node)
		inner, _ := b["properties"].(node)
		for name, child := range inner {
			if child, ok := child.(node); ok && branch == "then" {
				walk(root, child, path+"."+name+warehouseOnly, visit)
			} else if ok {
				walk(root, child, path+"."+name, visit)
			}
		}
	}
	if items, ok := n["items"].(node); ok {
		visit(path+"[]", resolve(root, items))
		walk(root, items, path+"[]", visit)
	}
	inner, _ := n["properties"].(node)
	for name, child := range inner {
		full := strings.TrimPrefix(path+"."+name, ".")
		visit(full, resolve(root, child.(node)))
		walk(root, child.(node), full, visit)
	}
}

const warehouseOnly = " of BigQuery"

func list(v any) []node {
	var out []node
	items, _ := v.([]any)
	for _, i := range items {
		out = append(out, i.(node))
	}
	return out
}

// probe gives the problems of a file that has a value at a path, and little
// else. Some keys of a table of BigQuery are read in one mode only.
func probe(path, text string) []Problem {
	var out []Problem
	for _, mode := range []WriteMode{"", Suppression, Remove} {
		doc := at0(path, text)
		if inner, ok := strings.CutPrefix(path, "tables[].write"+warehouseOnly+"."); ok && mode != "" {
			doc = at0("tables[].write"+warehouseOnly, "{"+inner+": "+text+", mode: "+string(mode)+"}")
		}
		_, err := Parse("f", []byte(doc), "/jobs")
		out = append(out, err.(*Problems).List...)
	}
	return out
}

// at0 is a file with text at a path and nothing else.
func at0(path, text string) string {
	extra := ""
	if plain := strings.Replace(path, warehouseOnly, "", 1); plain != path {
		path, extra = plain, ", bigquery: {}"
	}
	parts := strings.Split(path, ".")
	for i, part := range slices.Backward(parts) {
		name := strings.TrimRight(part, "[]")
		text = strings.Repeat("[", strings.Count(part, "[]")) + text + strings.Repeat("]", strings.Count(part, "[]"))
		if i == 1 {
			text += extra
		}
		if path == "tables[].write.keep" && i == len(parts)-1 {
			text += ", mode: remove" // the only mode in which it is looked at
		}
		text = "{" + name + ": " + text + "}"
	}
	return text
}

const strange = "zzzzzzzzzzzzz"

// knownTo gives the keys that config knows at a path, or nil if no mapping
// belongs there.
func knownTo(path string) []string {
	text := "{" + strange + ": 1}"
	doc := text
	if path != "" {
		doc = at0(path, text)
	}
	_, err := Parse("f", []byte(doc), "/jobs")
	want := strings.ReplaceAll(strings.Replace(path, warehouseOnly, "", 1), "[]", "[0]")
	for _, p := range err.(*Problems).List {
		known, found := strings.CutPrefix(p.Hint, "known here: ")
		if found && p.Msg == "unknown key" && strings.TrimPrefix(strings.TrimSuffix(p.Key, "."+strange), strange) == want {
			return strings.Split(known, ", ")
		}
	}
	return nil
}

// configKeys are the paths of all keys that config knows.
func configKeys(path string, add func(string)) {
	for _, name := range knownTo(path) {
		full := strings.TrimPrefix(path+"."+name, ".")
		add(full)
		configKeys(full, add)
		if knownTo(full+"[]") != nil {
			configKeys(full+"[]", add)
		}
		if full == "tables[].write" {
			configKeys(full+warehouseOnly, add)
		}
	}
}

// The schema has the keys that config knows, and no others, each described.
func TestSchemaHasTheKeysOfConfig(t *testing.T) {
	inConfig, inSchema := map[string]bool{}, map[string]bool{}
	configKeys("", func(path string) { inConfig[path] = true })
	root := rawSchema(t)
	walk(root, root, "", func(path string, n node) {
		if !strings.HasSuffix(path, "[]") {
			inSchema[path] = true
		}
		if text, _ := n["description"].(string); text == "" && !strings.HasSuffix(path, "[]") {
			t.Errorf("%s has no description in schemas/job.schema.json", path)
		}
	})
	for _, path := range slices.Sorted(maps.Keys(inConfig)) {
		if !inSchema[path] {
			t.Errorf("config knows %s: add it to schemas/job.schema.json", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(inSchema)) {
		if !inConfig[path] {
			t.Errorf("config does not know %s of schemas/job.schema.json", path)
		}
	}
	if len(inConfig) < 80 || !inConfig["operator.canaries.file"] || !inConfig["notify[].url.env"] || !inConfig["tables[].write of BigQuery.dataset"] {
		t.Errorf("only %d keys were found", len(inConfig))
	}
}

var choice = regexp.MustCompile(`^must be (\S+( or \S+)+)$`)

// Where one of a few words belongs, both name the same ones.
func TestSchemaHasTheWordsOfConfig(t *testing.T) {
	root := rawSchema(t)
	seen := 0
	walk(root, root, "", func(path string, n node) {
		var inConfig []string
		for _, p := range probe(path, strange) {
			if m := choice.FindStringSubmatch(p.Msg); m != nil && p.Key == strings.ReplaceAll(strings.Replace(path, warehouseOnly, "", 1), "[]", "[0]") {
				inConfig = strings.Split(m[1], " or ")
			}
		}
		var inSchema []string
		for _, word := range words(n["enum"]) {
			inSchema = append(inSchema, word.(string))
		}
		if n["type"] == "boolean" {
			inSchema = []string{"true", "false"}
		}
		if !slices.Equal(inConfig, inSchema) {
			t.Errorf("%s: config takes %v, the schema %v", path, inConfig, inSchema)
		}
		seen += len(inSchema)
	})
	if seen < 40 {
		t.Errorf("only %d words were compared", seen)
	}
}

func words(v any) []any { items, _ := v.([]any); return items }

// whole are valid files that together have every key that has a default.
var whole = []string{
	embedded + "limits: {}\nlineage: {file: a}\nheartbeat: {url: https://a.example}\nschedule: {cron: 0 4 * * *}\n",
	good, warehouse, strings.Replace(warehouse, "keep: false", "keep: false, dataset: p.d", 1),
}

// A default of the schema is what config takes if the key is not there.
func TestSchemaHasTheDefaultsOfConfig(t *testing.T) {
	root := rawSchema(t)
	tried := map[string]bool{}
	walk(root, root, "", func(path string, n node) {
		value, given := n["default"]
		if !given {
			return
		}
		tried[path] = false
		for _, text := range oneTableEach(t, whole) {
			var with, without any
			for _, v := range []*any{&with, &without} {
				if err := json.Unmarshal(text, v); err != nil {
					t.Fatal(err)
				}
			}
			keys := strings.Split(strings.ReplaceAll(strings.Replace(path, warehouseOnly, "", 1), "[]", ".[]"), ".")
			if change(with, keys, value, true) == 0 || change(without, keys, value, false) == 0 {
				continue
			}
			a, errA := parseAny(with)
			b, errB := parseAny(without)
			if errA != nil || errB != nil {
				continue // the key does not belong into this file
			}
			tried[path] = true
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %v is not what config takes by default", path, value)
			}
		}
	})
	for path, ok := range tried {
		if !ok {
			t.Errorf("the default of %s was not tried: add a file to whole", path)
		}
	}
}

// oneTableEach makes a file of each table of the files.
func oneTableEach(t *testing.T, texts []string) (out [][]byte) {
	t.Helper()
	for _, text := range texts {
		var job map[string]any
		if err := yaml.Unmarshal([]byte(text), &job); err != nil {
			t.Fatal(err)
		}
		for _, table := range job["tables"].([]any) {
			job["tables"] = []any{table}
			data, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, data)
		}
	}
	return out
}

// change sets or removes what stands at a path, in all items of lists, and
// tells at how many places.
func change(in any, keys []string, value any, set bool) (n int) {
	switch in := in.(type) {
	case []any:
		for _, item := range in {
			n += change(item, keys[1:], value, set)
		}
	case map[string]any:
		if len(keys) > 1 {
			return change(in[keys[0]], keys[1:], value, set)
		}
		if set {
			in[keys[0]] = value
		} else {
			delete(in, keys[0])
		}
		return 1
	}
	return n
}

func parseAny(v any) (*Job, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Parse("f", data, "/jobs")
}

// beyond are problems that no schema can tell: they take two keys, arithmetic
// or another file to see.
var beyond = []string{
	"memory too small", "memory too large", "plain http", "table names", "id column overwritten", "bad pattern",
	"workspace in data", "data in workspace", "run tables in data", "run tables in workspace", "anchor",
	"list among the data", "list of two tables", "quarantine among other data",
	"wrong mode of a query", "insecure elsewhere",
	"never", "minute", "Sunday", "word", "empty field", "zone", "jitter", "deadline",
}

// A file that config refuses is refused by the schema, too, as far as a schema
// can see.
func TestSchemaRefusesWhatConfigRefuses(t *testing.T) {
	bad := map[string]string{}
	for _, c := range problemCases() {
		bad[c.name] = strings.Replace(c.base, c.old, c.new, 1)
	}
	for _, c := range warehouseProblems {
		bad[c.name] = strings.Replace(warehouse, c.old, c.new, 1)
	}
	for _, c := range scheduleProblems {
		bad[c.name] = embedded + c.text + "\n"
	}
	for _, c := range signalProblems {
		bad[c.text] = embedded + c.text + "\n"
	}
	validate := judge(t)
	for name, text := range bad {
		if _, err := Parse("f", []byte(text), "/jobs"); err == nil {
			t.Errorf("%s: config takes it", name)
		}
		if err := validate(text); (err == nil) != slices.Contains(beyond, name) {
			t.Errorf("%s: the schema says %v", name, err)
		}
	}
	for _, name := range beyond {
		if bad[name] == "" {
			t.Errorf("there is no case %q", name)
		}
	}
}

// A file that config takes is taken by the schema, too.
func TestSchemaTakesWhatConfigTakes(t *testing.T) {
	texts := map[string]string{
		"good": good, "embedded": embedded, "warehouse": warehouse, "signals": embedded + allSignals, "scaffold": string(Scaffold()),
		"public":            strings.NewReplacer("kind: private", "kind: public", "  parallel: 8\n", "").Replace(good),
		"nulls":             strings.Replace(embedded, "id_column: id}", "id_column: id}, write: ", 1) + "limits:\n",
		"no receivers":      embedded + "notify: []\n",
		"spans":             embedded + "limits: {max_duration: 1h30m0.5s}\nschedule: {cron: '@daily', grace: 3650d, jitter: 90s}\n",
		"sizes":             embedded + "limits: {memory: 64 MiB, max_new_flags: 100%, max_quarantined: 0.25%}\n",
		"words in a cron":   embedded + "schedule: {cron: ' 5/15 1-3,22 ? jan-mar MON '}\n",
		"another server":    strings.Replace(warehouse, "  key_file: sa.json\n", "  insecure: true\n  endpoint: http://127.0.0.1:9050\n  grpc_endpoint: '[::1]:9060'\n", 1),
		"windows of hosts":  strings.Replace(good, "10.0.0.1", "'fe80::1'", 1),
		"URL with capitals": strings.Replace(good, "https://operator.example.com/v2/", "HTTPS://Operator.Example.com:8443/x/v2", 1),
	}
	for name, text := range jobFilesOfScripts(t) {
		texts[name] = text
	}
	validate := judge(t)
	for name, text := range texts {
		if _, err := Parse("f", []byte(text), "/jobs"); err != nil {
			t.Errorf("%s: config: %v", name, err)
		}
		if err := validate(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// jobFilesOfScripts are the job files of the scripts that test the command
// line, without those that are meant to be refused.
func jobFilesOfScripts(t *testing.T) map[string]string {
	t.Helper()
	scripts, err := filepath.Glob("../../cmd/optsweep/testdata/script/*.txtar")
	if err != nil || len(scripts) < 10 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	header := regexp.MustCompile(`(?m)^-- (\S+\.yaml) --\n`)
	out := map[string]string{}
	for _, path := range scripts {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, at := range header.FindAllStringSubmatchIndex(text, -1) {
			body, _, _ := strings.Cut(text[at[1]:], "\n-- ")
			body = strings.NewReplacer(`"URL"`, "http://127.0.0.1:8080", "URL", "http://127.0.0.1:8080").Replace(body)
			if _, err := Parse("f", []byte(body), "/jobs"); err == nil {
				out[fmt.Sprintf("%s of %s", text[at[2]:at[3]], filepath.Base(path))] = body
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d job files were found", len(out))
	}
	return out
}
