package engines

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/flight"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"optsweep/connectors/parquet/footer"
)

// encode writes a schema as engines store it in a footer.
func encode(s *arrow.Schema) string {
	return base64.StdEncoding.EncodeToString(flight.SerializeSchema(s, memory.DefaultAllocator))
}

func decode(t *testing.T, value string) *arrow.Schema {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	return r.Schema()
}

var flag = arrow.Field{Name: "opted_out_since", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, Nullable: true}

func samples() []*arrow.Schema {
	meta := arrow.NewMetadata([]string{"k", "l"}, []string{"v", strings.Repeat("w", 100)})
	return []*arrow.Schema{
		arrow.NewSchema(nil, nil),
		arrow.NewSchema([]arrow.Field{{Name: "euid", Type: arrow.BinaryTypes.String}}, &meta),
		arrow.NewSchema([]arrow.Field{
			{Name: "a", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.LargeString, Ordered: true}, Metadata: meta},
			{Name: "b", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Berlin"}, Nullable: true},
			{Name: "c", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.ListOf(arrow.StructOf(
				arrow.Field{Name: "x", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}},
				arrow.Field{Name: "y", Type: arrow.FixedSizeListOf(3, arrow.FixedWidthTypes.Float16), Metadata: meta},
			)))},
			{Name: "d", Type: arrow.BinaryTypes.StringView},
			{Name: "e", Type: arrow.FixedWidthTypes.Duration_us},
		}, nil),
	}
}

// TestArrowSchema: the edited schema is the old one, to the last property, and
// one more field; editing it again adds one more.
func TestArrowSchema(t *testing.T) {
	testArrowSchema(t, footer.Timestamp, flag)
	testArrowSchema(t, footer.Integer, arrow.Field{Name: flag.Name, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
}

func testArrowSchema(t *testing.T, typ footer.FlagType, flag arrow.Field) {
	for i, s := range samples() {
		edited := encode(s)
		fields := s.Fields()
		for range 3 {
			edits, err := AddColumn(map[string]string{arrowKey: edited}, flag.Name, typ)
			if err != nil {
				t.Fatal(err)
			}
			edited = edits[arrowKey]
			fields = append(fields, flag)
			meta := s.Metadata()
			got, want := decode(t, edited), arrow.NewSchema(fields, &meta)
			if !got.Equal(want) || got.Metadata().String() != meta.String() {
				t.Fatalf("schema %d:\n%s\nwant\n%s", i, got, want)
			}
		}
	}
}

func TestJSONSchemas(t *testing.T) {
	for _, old := range []string{
		`{"type":"struct","fields":[]}`,
		"{\"fields\" : [ {\"name\":\"a]\", \"x\":[1,2]} \n ] , \"type\":\"struct\"}",
	} {
		for _, key := range []string{sparkKey, avroKey, oldAvroKey} {
			edits, err := AddColumn(map[string]string{key: old, "other": "x"}, `a "name"`, footer.Timestamp)
			if err != nil {
				t.Fatal(err)
			}
			var before, after struct{ Fields []map[string]any }
			if json.Unmarshal([]byte(old), &before) != nil || json.Unmarshal([]byte(edits[key]), &after) != nil || len(edits) != 1 {
				t.Fatalf("%s becomes %s", old, edits[key])
			}
			if n := len(after.Fields); n != len(before.Fields)+1 || after.Fields[n-1]["name"] != `a "name"` {
				t.Fatalf("%s becomes %s", old, edits[key])
			}
			if cut := strings.Index(edits[key], `{"name":"a \"name\"`); !strings.HasPrefix(old, strings.TrimSuffix(edits[key][:cut], ",")) {
				t.Fatalf("%s becomes %s", old, edits[key])
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for key, values := range map[string][]string{
		sparkKey: {"", "[]", "StructType(List())", `{"fields":3}`, `{"type":"struct"}`, `{"fields":[1`, `{"a":[`},
		avroKey:  {`"string"`, `{"type":"record","fields":{}}`},
		arrowKey: {"", "%%%", "AAAA", "/////w==", "/////wEAAAA=", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xFF}, 64))},
	} {
		for _, v := range values {
			if edits, err := AddColumn(map[string]string{key: v}, "c", footer.Timestamp); err == nil || edits != nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %q: %v, %v", key, v, edits, err)
			}
		}
	}
}

func TestLake(t *testing.T) {
	for key, want := range map[string]string{"iceberg.schema": "Iceberg", "hoodie_min_record_key": "Hudi", "org.apache.hudi.bloomfilter": "Hudi", "pandas": ""} {
		if got := Lake(map[string]string{key: "x"}); got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
}

func FuzzArrowSchema(f *testing.F) {
	for _, s := range samples() {
		f.Add(flight.SerializeSchema(s, memory.DefaultAllocator))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		edited, err := appendArrowField(base64.StdEncoding.EncodeToString(raw), "c", footer.Timestamp)
		if err != nil {
			return
		}
		if again, err := appendArrowField(edited, "c", footer.Integer); err != nil || len(again) <= len(edited) {
			t.Fatalf("cannot be edited again: %v", err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"type":"struct","fields":[{"name":"a"}]}`)
	f.Add(`{"fields":[],"x":{"fields":[]}}`)
	f.Fuzz(func(t *testing.T, old string) {
		edited, err := appendField(old, `{"name":"c"}`)
		if err != nil {
			return
		}
		if json.Valid([]byte(old)) != json.Valid([]byte(edited)) {
			t.Fatalf("%q becomes %q", old, edited)
		}
	})
}
