package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"go.uber.org/goleak"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func nobody([]byte) (int64, bool) { return 0, false }

// TestStickyMinimum: new = min(old, found), and nothing else.
func TestStickyMinimum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	ids := shape{groups: []int{60, 60}, nulls: 10, distinct: 1000}.write(t, path)
	tab := table(t, path)
	at := func(ms int64, from, to int) parquet.Since {
		listed := map[string]bool{}
		for _, id := range ids[from:to] {
			listed[string(id)] = len(id) == 44
		}
		return func(cell []byte) (int64, bool) { return ms, listed[string(cell)] }
	}
	valid := func(from, to int) (n int64) {
		for _, id := range ids[from:to] {
			if len(id) == 44 {
				n++
			}
		}
		return n
	}
	for i, step := range []struct {
		since parquet.Since
		want  schemas.Receipt
	}{
		{at(500, 0, 80), schemas.Receipt{Changed: true, OptedOut: valid(0, 80), Flagged: valid(0, 80), NewlyFlagged: valid(0, 80)}},
		{at(700, 0, 80), schemas.Receipt{OptedOut: valid(0, 80), Flagged: valid(0, 80)}},
		{at(300, 60, 120), schemas.Receipt{
			Changed: true, OptedOut: valid(60, 120), Flagged: valid(0, 120),
			NewlyFlagged: valid(80, 120), MovedEarlier: valid(60, 80), Kept: valid(0, 60),
		}},
		{nobody, schemas.Receipt{Flagged: valid(0, 120), Kept: valid(0, 120)}},
	} {
		r := apply(t, tab, plan(t, tab)[0], step.since)
		got := schemas.Receipt{
			Changed: r.Changed, OptedOut: r.OptedOut, Flagged: r.Flagged,
			NewlyFlagged: r.NewlyFlagged, MovedEarlier: r.MovedEarlier, Kept: r.Kept,
		}
		if got != step.want || r.Rows != 120 || r.Nulls != 12 || r.Confirmed != r.Flagged {
			t.Fatalf("step %d: %+v\nwant %+v", i, r, step.want)
		}
	}
	for i, f := range flags(t, path, "opted_out_since") {
		switch {
		case len(ids[i]) != 44:
			if f != nil {
				t.Fatalf("row %d has a flag and no id", i)
			}
		case f == nil || *f != map[bool]int64{true: 500, false: 300}[i < 60]:
			t.Fatalf("row %d has flag %v", i, f)
		}
	}
}

// TestUnchangedFileIsNotTouched: not a byte, not the time of modification, and
// commit is not called.
func TestUnchangedFileIsNotTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{50}, distinct: 100}.write(t, path)
	tab := table(t, path)
	if r := apply(t, tab, plan(t, tab)[0], nobody); !r.Changed || r.Flagged != 0 {
		t.Fatalf("an all-NULL column must be added: %+v", r)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tab.Apply(context.Background(), plan(t, tab)[0], nobody, func(schemas.Receipt) error {
		t.Fatal("commit called")
		return nil
	})
	after, statErr := os.Stat(path)
	if err != nil || statErr != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Fatalf("touched: %v %v", err, statErr)
	}
}

func TestModeAndLinkStay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "real", "x.parquet")
	put(t, path, read(t, filepath.Join(fixtureDir, "pyarrow-required.parquet")))
	if err := os.Chmod(path, 0o617); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join("real", "x.parquet"), filepath.Join(dir, "link.parquet"))
	tab := table(t, filepath.Join(dir, "link.parquet"))
	apply(t, tab, plan(t, tab)[0], rule)
	if info, err := os.Lstat(filepath.Join(dir, "link.parquet")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Fatalf("the link is gone: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o617 {
		t.Fatalf("mode is %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "real", ".*")); err != nil || len(left) > 0 {
		t.Fatalf("left over: %q, %v", left, err)
	}
}

// clash writes a file with one more column beside the id.
func clash(t *testing.T, path string, fields ...arrow.Field) {
	t.Helper()
	fields = append([]arrow.Field{{Name: "euid", Type: arrow.BinaryTypes.String, Nullable: true}}, fields...)
	sc := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	for i := range fields {
		b.Field(i).AppendNull()
	}
	rec := b.NewRecord()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(sc, f, nil, pqarrow.DefaultWriterProps())
	if err == nil {
		err = errors.Join(w.Write(rec), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNameClashesAreRefused(t *testing.T) {
	flag := arrow.Field{Name: "opted_out_since", Type: arrow.FixedWidthTypes.Timestamp_ms, Nullable: true}
	other := arrow.Field{Name: "other", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	as := func(name string, typ arrow.DataType, nullable bool) arrow.Field {
		return arrow.Field{Name: name, Type: typ, Nullable: nullable}
	}
	for name, fields := range map[string][]arrow.Field{
		"by case only":               {as("Opted_Out_Since", flag.Type, true)},
		"not the last one":           {flag, other},
		"as the job wants it, and":   {as(flag.Name, arrow.PrimitiveTypes.Int64, true)},
		"INT64 timestamp (ms, UTC)":  {as(flag.Name, arrow.FixedWidthTypes.Timestamp_us, true)},
		"a nullable INT64 timestamp": {as(flag.Name, arrow.PrimitiveTypes.Int32, true)},
		"timestamp (ms, UTC)":        {as(flag.Name, &arrow.TimestampType{Unit: arrow.Millisecond}, true)},
		"or not a nullable":          {as(flag.Name, arrow.StructOf(flag), true)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.parquet")
			clash(t, path, fields...)
			_, failed, err := table(t, path).Plan(context.Background())
			if err != nil || len(failed) != 1 || !strings.Contains(failed[0].Error, name) || !strings.Contains(failed[0].Hint, "write.column") {
				t.Fatalf("%+v, %v", failed, err)
			}
		})
	}
}

// TestChangedFileIsRefused: Scan and Apply work on the version that was planned
// or not at all.
func TestChangedFileIsRefused(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "x.parquet")
	write := func(rows int) { shape{groups: []int{rows}, distinct: 100}.write(t, path) }
	write(10)
	tab := table(t, path)
	u := plan(t, tab)[0]
	write(11)
	if err := tab.Scan(ctx, u, func(schemas.Cells) error { return nil }); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("scan: %v", err)
	}
	if _, err := tab.Apply(ctx, u, rule, nothing); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("apply: %v", err)
	}
	u = plan(t, tab)[0]
	err := tab.Scan(ctx, u, func(schemas.Cells) error { write(12); return nil })
	if err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("scan of a file that changes: %v", err)
	}
	u = plan(t, tab)[0]
	once := true
	_, err = tab.Apply(ctx, u, func(cell []byte) (int64, bool) {
		if once {
			once = false
			write(13)
		}
		return rule(cell)
	}, nothing)
	if err == nil || !strings.Contains(err.Error(), "changed") || plan(t, tab)[0].Rows != 13 {
		t.Errorf("apply to a file that changes: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Apply(ctx, u, rule, nothing); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("apply to a file that is gone: %v", err)
	}
}

func TestScanStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{30_000, 30_000}, distinct: 100}.write(t, path)
	tab := table(t, path)
	u := plan(t, tab)[0]
	stop := errors.New("stop")
	calls := 0
	if err := tab.Scan(context.Background(), u, func(schemas.Cells) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := tab.Scan(ctx, u, func(schemas.Cells) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled scan: %v", err)
	}
	if _, err := tab.Apply(ctx, u, rule, nothing); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled apply: %v", err)
	}
}

func TestCommitFailureChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	shape{groups: []int{40}, distinct: 100}.write(t, path)
	old := read(t, path)
	tab := table(t, path)
	refused := errors.New("refused")
	_, err := tab.Apply(context.Background(), plan(t, tab)[0], rule, func(schemas.Receipt) error {
		if !bytes.Equal(read(t, path), old) {
			t.Error("published before commit")
		}
		return refused
	})
	entries, dirErr := os.ReadDir(dir)
	if !errors.Is(err, refused) || !bytes.Equal(read(t, path), old) || dirErr != nil || len(entries) != 1 {
		t.Fatalf("%v; %d files, %v", err, len(entries), dirErr)
	}
}

func TestWriteErrorsSayWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{40}, distinct: 100}.write(t, path)
	for cause, hint := range map[error]string{syscall.ENOSPC: "free disk space", syscall.EACCES: "permission", syscall.EROFS: "permission"} {
		tab, err := parquet.New(parquet.Options{Path: path, IDColumn: "euid", Disk: durable.Disk{
			Fault: func(durable.Step, string) (bool, error) { return false, cause },
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tab.Apply(context.Background(), plan(t, tab)[0], rule, nothing)
		if !errors.Is(err, cause) || !strings.Contains(schemas.HintOf(err), hint) {
			t.Errorf("%v: %v, hint %q", cause, err, schemas.HintOf(err))
		}
	}
}

func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	shape{groups: []int{4}, distinct: 100}.write(t, path)
	put(t, filepath.Join(dir, ".x.parquet.ABCDEFGH"+durable.TempSuffix), []byte("half"))
	tab := table(t, path)
	if err := tab.RemoveLeftovers(plan(t, tab)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Fatalf("%d files left, %v", len(entries), err)
	}
}
