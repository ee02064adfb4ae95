package optoutlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const v2Text = "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="

func importOptions(t testing.TB, format Format, unit TimeUnit, content string) ImportOptions {
	path := filepath.Join(t.TempDir(), "in."+string(format))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return ImportOptions{Path: path, Format: format, IDColumn: "euid", TimeColumn: "at", Unit: unit,
		Rules:  schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production},
		Writer: WriterOptions{Dir: t.TempDir(), Replica: 5}, Now: func() time.Time { return t0 }}
}

// imported loads what an import wrote.
func imported(t testing.TB, opts ImportOptions) *Store {
	t.Helper()
	s := New(Options{Dir: opts.Writer.Dir, AllowEmpty: true})
	load(t, s)
	return s
}

func TestImportText(t *testing.T) {
	both := []schemas.ID{textID(t, euidV3), textID(t, v2Text)}
	for _, tc := range []struct {
		name    string
		format  Format
		unit    TimeUnit
		content string
		want    []int64
	}{
		{"csv in s", CSV, Seconds, "at,x,euid\n1764547200,a," + euidV3 + "\n1764547260,b," + v2Text + "\n", []int64{1764547200, 1764547260}},
		{"csv in ms", CSV, Milliseconds, "\ufeffeuid,at\r\n" + euidV3 + ",1764547200999\r\n", []int64{1764547200, -1}},
		{"csv rfc3339", CSV, RFC3339, "euid,at\n\"" + euidV3 + "\",2025-12-01T01:00:00.5+01:00\n " + v2Text + " ,2025-12-01T00:01:00Z", []int64{1764547200, 1764547260}},
		{"csv without rows", CSV, Seconds, "euid,at\n", []int64{-1, -1}},
		{"json in s", JSONLines, Seconds, `{"euid":"` + euidV3 + `","at":1764547200}` + "\n\n" + `{"at":"1764547260","euid":"` + v2Text + `","x":{}}`, []int64{1764547200, 1764547260}},
		{"json in ms", JSONLines, Milliseconds, `{"euid":"` + euidV3 + `","at":1764547200000}`, []int64{1764547200, -1}},
		{"json rfc3339", JSONLines, RFC3339, `{"euid":"` + euidV3 + `","at":"2025-12-01T00:00:00Z"}`, []int64{1764547200, -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := importOptions(t, tc.format, tc.unit, tc.content)
			result, err := Import(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, since(imported(t, opts), both), tc.want...)
			if n := int64(imported(t, opts).Snapshot().Stats().IDs); result.Imported != n || result.Rows != n || (result.Path == "") != (n == 0) {
				t.Errorf("%+v", result)
			}
		})
	}
}

// Bad rows are counted by reason and, unless they are to be left out, nothing
// is imported.
func TestImportBadRows(t *testing.T) {
	rows := []string{
		euidV3 + ",1764547200", ",1764547200", "x,1764547200", "someone@example.com,1764547200",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g,1764547200",
		v2Text + ",1764547200000", v2Text + ",", v2Text + ",0", v2Text + ",1764547200.5", v2Text + ",-1", v2Text + ",1767400000",
	}
	want := map[string]int64{"empty": 1, "bad_length": 1, "looks_like_email": 1, "wrong_scope": 1, "bad_time": 6}
	opts := importOptions(t, CSV, Seconds, "euid,at\n"+strings.Join(rows, "\n"))
	result, err := Import(t.Context(), opts)
	if schemas.ClassOf(err) != schemas.Failed || schemas.HintOf(err) == "" || !strings.Contains(err.Error(), "10 of 11 rows are bad") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "example.com") || strings.Contains(err.Error(), v2Text) {
		t.Error("the error shows a row")
	}
	delete(result.Bad, "not_base64")
	if result.Imported != 0 || result.Rows != 11 {
		t.Errorf("%+v", result)
	}
	if n := imported(t, opts).Snapshot().Stats(); n.Files != 0 {
		t.Errorf("%+v", n)
	}
	opts.SkipBad = true
	result, err = Import(t.Context(), opts)
	if err != nil || result.Imported != 1 || result.Rows != 11 {
		t.Errorf("%+v %v", result, err)
	}
	if sum := result.Bad["not_base64"] + result.Bad["bad_length"]; sum != 1 {
		t.Errorf("%v", result.Bad)
	}
	delete(result.Bad, "not_base64")
	delete(result.Bad, "bad_length")
	delete(want, "bad_length")
	if !maps.Equal(result.Bad, want) {
		t.Errorf("%v, want %v", result.Bad, want)
	}
	opts = importOptions(t, JSONLines, Seconds, `{"euid":null,"at":1764547200}`+"\n"+`{"at":1764547200}`+"\n"+`{"euid":"`+euidV3+`"}`+"\n"+`{"euid":"`+euidV3+`","at":null}`)
	opts.SkipBad = true
	result, err = Import(t.Context(), opts)
	if err != nil || !maps.Equal(result.Bad, map[string]int64{"null": 2, "bad_time": 2}) {
		t.Errorf("%+v %v", result, err)
	}
}

func TestImportRefuses(t *testing.T) {
	good := "euid,at\n" + euidV3 + ",1764547200\n"
	for name, tc := range map[string]struct {
		format  Format
		unit    TimeUnit
		content string
		change  func(*ImportOptions)
	}{
		"no unit":          {CSV, "", good, nil},
		"unit timestamp":   {CSV, Timestamp, good, nil},
		"no id column":     {CSV, Seconds, good, func(o *ImportOptions) { o.IDColumn = "" }},
		"another id":       {CSV, Seconds, good, func(o *ImportOptions) { o.IDColumn = "id" }},
		"another time":     {CSV, Seconds, good, func(o *ImportOptions) { o.TimeColumn = "time" }},
		"unknown format":   {"xlsx", Seconds, good, nil},
		"no header":        {CSV, Seconds, "", nil},
		"ragged csv":       {CSV, Seconds, good + "a\n", nil},
		"not json":         {JSONLines, Seconds, `{"euid":"` + euidV3 + `","at":1}` + "\nx", nil},
		"json array":       {JSONLines, Seconds, `[]`, nil},
		"not parquet":      {Parquet, Seconds, good, nil},
		"no such file":     {CSV, Seconds, good, func(o *ImportOptions) { o.Path += "x" }},
		"no such folder":   {CSV, Seconds, good, func(o *ImportOptions) { o.Writer.Dir += "x" }},
		"synthetic output": {CSV, Seconds, good, func(o *ImportOptions) { o.Writer.Replica = Synthetic }},
	} {
		opts := importOptions(t, tc.format, tc.unit, tc.content)
		dir := opts.Writer.Dir
		if tc.change != nil {
			tc.change(&opts)
		}
		if result, err := Import(t.Context(), opts); err == nil || strings.Contains(err.Error(), euidV3) {
			t.Errorf("%s: %+v %v", name, result, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %d files are left", name, len(left))
		}
	}
	var many strings.Builder
	many.WriteString("euid,at\n")
	for range 5000 {
		many.WriteString(euidV3 + ",1764547200\n")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, importOptions(t, CSV, Seconds, many.String())); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	opts := importOptions(t, CSV, Seconds, good)
	var broken error
	opts.Writer.Disk, broken = failAt(durable.Sync, 1, false)
	if _, err := Import(t.Context(), opts); !errors.Is(err, broken) {
		t.Errorf("full disk: %v", err)
	}
}

// writeParquet writes rows of an id and a time column of the given type, in
// row groups of 100. Each third id and each fifth time is NULL.
func writeParquet(t testing.TB, path string, timeType arrow.DataType, all []schemas.ID, props ...parquet.WriterProperty) {
	t.Helper()
	sc := arrow.NewSchema([]arrow.Field{
		{Name: "x", Type: arrow.PrimitiveTypes.Int64},
		{Name: "euid", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "at", Type: timeType, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	for i, id := range all {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if i%3 == 2 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(string(id.AppendText(nil)))
		}
		second := int64(1764547200 + i)
		at := b.Field(2)
		if i%5 == 4 {
			at.AppendNull()
			continue
		}
		text := fmt.Sprint(second)
		switch timeType.(type) {
		case *arrow.TimestampType:
			text = time.Unix(second, 0).UTC().Format("2006-01-02T15:04:05.000")
		case *arrow.StringType:
			text = time.Unix(second, 0).UTC().Format(time.RFC3339)
		}
		if err := at.AppendValueFromString(text); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	table := array.NewTableFromRecords(sc, []arrow.Record{b.NewRecord()})
	if err := pqarrow.WriteTable(table, out, 100, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps()); err != nil {
		t.Fatal(err)
	}
}

func TestImportParquet(t *testing.T) {
	all := ids(40, 1000)
	for name, tc := range map[string]struct {
		typ   arrow.DataType
		unit  TimeUnit
		props []parquet.WriterProperty
	}{
		"seconds":        {arrow.PrimitiveTypes.Int64, Seconds, nil},
		"timestamp ms":   {arrow.FixedWidthTypes.Timestamp_ms, Timestamp, nil},
		"timestamp us":   {arrow.FixedWidthTypes.Timestamp_us, Timestamp, nil},
		"rfc3339":        {arrow.BinaryTypes.String, RFC3339, nil},
		"small pages":    {arrow.PrimitiveTypes.Int64, Seconds, []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(200), parquet.WithBatchSize(7)}},
		"data pages v2":  {arrow.PrimitiveTypes.Int64, Seconds, []parquet.WriterProperty{parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDictionaryDefault(false)}},
		"delta encoding": {arrow.PrimitiveTypes.Int64, Seconds, []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("at", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("euid", parquet.Encodings.DeltaByteArray)}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := importOptions(t, Parquet, tc.unit, "")
			opts.SkipBad = true
			writeParquet(t, opts.Path, tc.typ, all, tc.props...)
			result, err := Import(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			s := imported(t, opts)
			var good int64
			for i, id := range all {
				want := i%3 != 2 && i%5 != 4
				ms, ok := s.Snapshot().Since(id)
				if ok != want || ok && ms != int64(1764547200+i)*1000 {
					t.Fatalf("row %d: %d %t", i, ms, ok)
				}
				if want {
					good++
				}
			}
			if result.Rows != 1000 || result.Imported != good || result.Bad["null"] != 333 {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestImportParquetUnits(t *testing.T) {
	all := ids(41, 3)
	for _, tc := range []struct {
		typ  arrow.DataType
		unit TimeUnit
	}{
		{arrow.FixedWidthTypes.Timestamp_ms, Milliseconds}, {arrow.FixedWidthTypes.Timestamp_ms, Seconds},
		{arrow.PrimitiveTypes.Int64, Timestamp}, {arrow.PrimitiveTypes.Int64, RFC3339},
		{arrow.BinaryTypes.String, Seconds}, {arrow.PrimitiveTypes.Int32, Seconds},
	} {
		opts := importOptions(t, Parquet, tc.unit, "")
		writeParquet(t, opts.Path, tc.typ, all)
		if _, err := Import(t.Context(), opts); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%s as %s: %v", tc.typ, tc.unit, err)
		}
	}
	opts := importOptions(t, Parquet, Seconds, "")
	writeParquet(t, opts.Path, arrow.PrimitiveTypes.Int64, all)
	opts.IDColumn = "x"
	if _, err := Import(t.Context(), opts); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("a number as id: %v", err)
	}
	b, err := os.ReadFile(opts.Path)
	if err != nil {
		t.Fatal(err)
	}
	opts.IDColumn = "euid"
	for cut := 4; cut < len(b); cut += 97 { // damaged anywhere: an error or fewer rows, never a crash
		damaged := append([]byte(nil), b...)
		copy(damaged[cut:], "\xff\xff\xff\xff\xff\xff")
		if err := os.WriteFile(opts.Path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Import(t.Context(), opts)
		if err := os.WriteFile(opts.Path, b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Import(t.Context(), opts); err == nil {
			t.Errorf("a file cut at %d is imported", cut)
		}
	}
}
