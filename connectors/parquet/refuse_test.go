package parquet_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/connectors/parquet"
)

// refused checks that no file below dir is planned, each for this reason, and
// that nothing is changed.
func refused(t *testing.T, tab *parquet.Table, files []string, want string) {
	t.Helper()
	var old [][]byte
	for _, f := range files {
		old = append(old, read(t, f))
	}
	units, failed, err := tab.Plan(context.Background())
	if err != nil || len(units) != 0 || len(failed) != len(files) {
		t.Fatalf("units %+v, failures %+v, %v", units, failed, err)
	}
	for i, f := range failed {
		if !strings.Contains(f.Error, want) || f.Hint == "" {
			t.Errorf("%+v, want %q", f, want)
		}
		if !bytes.Equal(old[i], read(t, files[i])) {
			t.Error("the file was changed")
		}
	}
}

// TestTableFormatsAreRefused lays out tables as their engines do. A unit that was
// planned before the folder became a table is refused, too.
func TestTableFormatsAreRefused(t *testing.T) {
	good := read(t, filepath.Join(fixtureDir, "pyarrow-required.parquet"))
	for name, c := range map[string]struct {
		want  string
		data  []string // path of each data file
		other []string // what makes it a table
	}{
		"delta": {"belongs to the Delta table", []string{"country=DE/part-00000-c000.snappy.parquet", "part-00001-c000.snappy.parquet"},
			[]string{"_delta_log/00000000000000000000.json", "_delta_log/_last_checkpoint", "_delta_log/.00000000000000000000.json.crc"}},
		"iceberg": {"belongs to the Iceberg table", []string{"data/day=2026-01-01/00000-0-a.parquet", "data/00000-0-b.parquet"},
			[]string{"metadata/00000-2b1c.metadata.json", "metadata/snap-1-1-x.avro", "metadata/version-hint.text"}},
		"iceberg with compressed metadata": {"belongs to the Iceberg table", []string{"data/00000-0-a.parquet"}, []string{"metadata/00000-2b1c.gz.metadata.json"}},
		"iceberg of an old writer":         {"belongs to the Iceberg table", []string{"data/00000-0-a.parquet"}, []string{"metadata/v3.metadata.json.gz"}},
		"hudi": {"belongs to the Hudi table", []string{"day=1/8c5f_0-1-0_2026.parquet"},
			[]string{".hoodie/hoodie.properties", ".hoodie/20260101.commit", "day=1/.hoodie_partition_metadata"}},
		"summary":                      {"_metadata would go stale", []string{"day=1/a.parquet", "day=2/b.parquet"}, []string{"_metadata"}},
		"summary of schemas":           {"_common_metadata would go stale", []string{"a.parquet"}, []string{"_common_metadata"}},
		"summary in a partition":       {"_metadata would go stale", []string{"day=1/a.parquet"}, []string{"day=1/_metadata"}},
		"summary above the fixed part": {"_metadata would go stale", []string{"fixed/day=1/a.parquet"}, []string{"_metadata"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var files []string
			for _, f := range c.data {
				files = append(files, filepath.Join(dir, f))
				put(t, filepath.Join(dir, f), good)
			}
			below := dir
			if strings.HasPrefix(c.data[0], "fixed/") {
				below = filepath.Join(dir, "fixed")
			}
			tab := table(t, filepath.Join(below, "**", "*.parquet"))
			early := plan(t, tab)
			for _, f := range c.other {
				put(t, filepath.Join(dir, f), []byte("{}"))
			}
			refused(t, tab, files, c.want)
			refused(t, table(t, files[0]), files[:1], c.want)
			// A link to a file of the table is no way around it.
			aside := filepath.Join(t.TempDir(), "link.parquet")
			link(t, files[0], aside)
			refused(t, table(t, aside), files[:1], c.want)
			for _, u := range early {
				if _, err := tab.Apply(context.Background(), u, rule, nothing); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("apply: %v", err)
				}
			}
			for _, f := range files {
				if !bytes.Equal(read(t, f), good) {
					t.Error("the file was changed")
				}
			}
		})
	}
}

// made writes a file with arrow's writer: columns of text, one row each.
func made(t *testing.T, path string, root *schema.GroupNode, options ...file.WriteOption) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := file.NewParquetWriter(f, root, options...)
	g := w.AppendRowGroup()
	for range w.NumColumns() {
		c, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.(*file.ByteArrayColumnChunkWriter).WriteBatch([]pq.ByteArray{[]byte(makeID(1))}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func textNode(name string) schema.Node {
	return schema.MustPrimitive(schema.NewPrimitiveNode(name, pq.Repetitions.Required, pq.Types.ByteArray, -1, -1))
}

func rootOf(fields ...schema.Node) *schema.GroupNode {
	return schema.MustGroup(schema.NewGroupNode("schema", pq.Repetitions.Required, fields, -1))
}

// TestEncryptedFilesAreRefused: with an encrypted footer, with a plain one that
// is signed, and with a single other column that is encrypted.
func TestEncryptedFilesAreRefused(t *testing.T) {
	key := strings.Repeat("k", 16)
	for name, c := range map[string]struct {
		want    string
		options []pq.EncryptOption
	}{
		"footer":       {"is encrypted", nil},
		"plain footer": {"has encrypted columns", []pq.EncryptOption{pq.WithPlaintextFooter()}},
		"one column": {"has encrypted columns", []pq.EncryptOption{pq.WithPlaintextFooter(), pq.WithEncryptedColumns(pq.ColumnPathToEncryptionPropsMap{
			"other": pq.NewColumnEncryptionProperties("other", pq.WithKey(strings.Repeat("o", 16)))})}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.parquet")
			props := pq.NewWriterProperties(pq.WithEncryptionProperties(pq.NewFileEncryptionProperties(key, c.options...)))
			made(t, path, rootOf(textNode("euid"), textNode("other")), file.WithWriterProps(props))
			refused(t, table(t, path), []string{path}, c.want)
		})
	}
}

func TestFilesOfTableFormatsAreRefused(t *testing.T) {
	for key, want := range map[string]string{"iceberg.schema": "for a table of Iceberg", "hoodie_bloom_filter_type_code": "for a table of Hudi"} {
		path := filepath.Join(t.TempDir(), "x.parquet")
		kv := metadata.NewKeyValueMetadata()
		if err := kv.Append(key, "{}"); err != nil {
			t.Fatal(err)
		}
		made(t, path, rootOf(textNode("euid")), file.WithWriteMetadata(kv))
		refused(t, table(t, path), []string{path}, want)
	}
}

// TestAmbiguousPathsAreRefused: what differs by case only, or not at all, on any
// step of the path.
func TestAmbiguousPathsAreRefused(t *testing.T) {
	inner := func(name string, fields ...schema.Node) schema.Node {
		return schema.MustGroup(schema.NewGroupNode(name, pq.Repetitions.Required, fields, -1))
	}
	for name, c := range map[string]struct {
		id   string
		root *schema.GroupNode
		want string // empty: it is fine
	}{
		"case":                        {"euid", rootOf(textNode("euid"), textNode("EUID")), `column "EUID" differs from "euid" by case only`},
		"case of a group":             {"euid", rootOf(textNode("euid"), inner("Euid", textNode("x"))), "by case only"},
		"case of a parent":            {"user.euid", rootOf(inner("user", textNode("euid")), inner("User", textNode("x"))), `column "User" differs from "user" by case only`},
		"case of a field":             {"user.euid", rootOf(inner("user", textNode("euid"), textNode("EUID"))), `column "user.EUID" differs from "user.euid" by case only`},
		"twice in a struct":           {"user.euid", rootOf(inner("user", textNode("euid"), textNode("euid"))), `two columns "user.euid"`},
		"two ways":                    {"user.euid", rootOf(textNode("user.euid"), inner("user", textNode("euid"))), "there are both"},
		"name with a dot":             {"user.euid", rootOf(textNode("user.euid"), inner("user", textNode("x"))), ""},
		"name with brackets":          {"ids[]", rootOf(textNode("ids[]"), textNode("id")), ""},
		"case elsewhere":              {"user.euid", rootOf(inner("user", textNode("euid")), textNode("a"), textNode("A"), textNode("EUID")), ""},
		"flag of another case inside": {"user.euid", rootOf(inner("user", textNode("euid"), textNode("Opted_Out_Since"))), ""},
		"flag of another case":        {"user.euid", rootOf(inner("user", textNode("euid")), inner("Opted_Out_Since", textNode("x"))), "by case only"},
		"empty step":                  {"user..euid", rootOf(inner("user", textNode("euid"))), "no column"},
		"brackets too many":           {"user[].euid", rootOf(inner("user", textNode("euid"))), "is no list"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.parquet")
			made(t, path, c.root)
			tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: c.id})
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" {
				refused(t, tab, []string{path}, c.want)
			} else if r := apply(t, tab, plan(t, tab)[0], rule); r.Rows != 1 || r.Nulls != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	made(t, path, rootOf(textNode("euid"), textNode("euid")))
	refused(t, table(t, path), []string{path}, `two columns "euid"`)
}
