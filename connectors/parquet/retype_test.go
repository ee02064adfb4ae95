package parquet_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/connectors/parquet"
)

func typed(t testing.TB, path string, typ parquet.FlagType) *parquet.Table {
	t.Helper()
	tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: "euid", Type: typ})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestFlagType: each type is written as such, and a later run changes it in
// place, even if no flag does: the file is the one that was never of the other
// type. What is sticky stays.
func TestFlagType(t *testing.T) {
	for _, original := range fixtures(t) {
		t.Run(filepath.Base(original), func(t *testing.T) {
			path := filepath.Join(work(t, original), filepath.Base(original))
			tabs := map[parquet.FlagType]*parquet.Table{parquet.Timestamp: typed(t, path, parquet.Timestamp), parquet.Integer: typed(t, path, parquet.Integer)}
			before := read(t, path)
			ids := cells(t, tabs[parquet.Integer], plan(t, tabs[parquet.Integer])[0])
			bytesOf := map[parquet.FlagType][]byte{}
			for i, typ := range []parquet.FlagType{parquet.Integer, parquet.Timestamp, parquet.Integer, parquet.Timestamp} {
				tab := tabs[typ]
				since := rule
				if i > 0 {
					since = nobody // all flags are old ones
				}
				r := apply(t, tab, plan(t, tab)[0], since)
				if !r.Changed || i > 0 && (r.NewlyFlagged+r.MovedEarlier+r.Cleared != 0 || r.Kept != r.Flagged) {
					t.Fatalf("%s: %+v", typ, r)
				}
				data := read(t, path)
				if !bytes.HasPrefix(data, before) {
					t.Fatal("the old file is not the beginning of the new one")
				}
				if known := bytesOf[typ]; known != nil && !bytes.Equal(known, data) {
					t.Fatalf("%s: other bytes than before", typ)
				}
				bytesOf[typ] = data
				sameFlags(t, flags(t, path, "opted_out_since"), wantFlags(ids))
				logical := lastLogical(t, path)
				if strings.HasPrefix(logical.String(), "Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds") != (typ == parquet.Timestamp) || typ == parquet.Integer && logical.String() != "None" {
					t.Fatalf("%s is written as %s", typ, logical)
				}
				if again := apply(t, tab, plan(t, tab)[0], rule); again.Changed {
					t.Fatalf("%s again: %+v", typ, again)
				}
			}
		})
	}
}

func lastLogical(t testing.TB, path string) schema.LogicalType {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.MetaData().Schema.Column(r.MetaData().Schema.NumColumns() - 1).LogicalType()
}

// TestForeignFlagsOfAnotherTypeAreRefused: what another program wrote is not
// given another type, and its numbers must be times in ms.
func TestForeignFlagsOfAnotherTypeAreRefused(t *testing.T) {
	dir := t.TempDir()
	stamp, number := filepath.Join(dir, "stamp.parquet"), filepath.Join(dir, "number.parquet")
	shape{groups: []int{20}, distinct: 100, flags: true}.write(t, stamp)
	clash(t, number, arrow.Field{Name: "opted_out_since", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	for path, tab := range map[string]*parquet.Table{stamp: typed(t, stamp, parquet.Integer), number: typed(t, number, parquet.Timestamp)} {
		old := read(t, path)
		_, failed, err := tab.Plan(context.Background())
		if err != nil || len(failed) != 1 || !strings.Contains(failed[0].Error, "as the job wants it") || !strings.Contains(failed[0].Hint, "write.type") || !bytes.Equal(old, read(t, path)) {
			t.Errorf("%s: %+v, %v", path, failed, err)
		}
	}
	// Flags of our own behind a column that was there before: still refused.
	tab := typed(t, stamp, parquet.Timestamp)
	if r := apply(t, tab, plan(t, tab)[0], wide); !r.Changed {
		t.Fatalf("%+v", r)
	}
	if _, failed, err := typed(t, stamp, parquet.Integer).Plan(context.Background()); err != nil || len(failed) != 1 {
		t.Errorf("%+v, %v", failed, err)
	}
	for ms, ok := range map[int64]bool{1_700_000_000_000: true, 1_700_000_000: false, 1_700_000_000_000_000: false} {
		path := filepath.Join(t.TempDir(), "x.parquet")
		shape{groups: []int{20}, distinct: 100, numbers: ms}.write(t, path)
		tab := typed(t, path, parquet.Integer)
		old := read(t, path)
		r, err := tab.Apply(context.Background(), plan(t, tab)[0], rule, nothing)
		if ok != (err == nil) || ok && r.Kept == 0 || !ok && (!strings.Contains(err.Error(), "no times in ms") || !bytes.Equal(old, read(t, path))) {
			t.Errorf("%d: %+v, %v", ms, r, err)
		}
	}
}
