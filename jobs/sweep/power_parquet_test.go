package sweep

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
	"optsweep/schemas/durable"
	"optsweep/schemas/durable/powerloss"
)

// The power goes at any durable step of a run over Parquet files, which are lost
// or kept with the workspace: they end with the bytes of an undisturbed run, and
// so does what a mode keeps beside them, but for the name of the run.
func TestRunOverParquetSurvivesAPowerLoss(t *testing.T) {
	t.Parallel()
	for _, mode := range []parquet.Mode{parquet.Column, parquet.Suppression, parquet.Remove} {
		t.Run(string(mode), func(t *testing.T) { overParquet(t, mode) })
	}
}

func overParquet(t *testing.T, mode parquet.Mode) {
	prepare := func() (b *bench, root string) {
		b = newBench(t)
		root = fastDir(t)
		file, err := os.ReadFile("../../testdata/parquet/fixtures/pyarrow-zstd-v2.parquet")
		if err == nil {
			err = errors.Join(os.Mkdir(filepath.Join(root, "data"), 0o700), os.WriteFile(filepath.Join(root, "data", "x.parquet"), file, 0o640))
		}
		b.dir = filepath.Join(root, "ws")
		if err := errors.Join(err, CreateWorkspace(durable.Disk{}, b.dir, b.now)); err != nil {
			t.Fatal(err)
		}
		table := parquetTable(t, mode, root, durable.Disk{})
		units, _, err := table.Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Scan(context.Background(), units[0], func(c schemas.Cells) error {
			for i, cell := range c.Values {
				if id, _, reason := b.job.Rules.Parse(cell); cell != nil && reason == schemas.Valid && i%2 == 0 {
					b.operator.optedOut[id] = 1_600_000_000_000 + int64(i)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return b, root
	}
	over := func(b *bench, root string) (schemas.Report, error) {
		table := parquetTable(t, mode, root, b.disk)
		b.job.Tables = []Table{{Name: "crm", Source: table, Target: table}}
		return b.run(context.Background())
	}
	data := func(root string) []byte {
		file, err := os.ReadFile(filepath.Join(root, "data", "x.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	undisturbed, root := prepare()
	// Up to apply the modes do the same.
	steps, first := 0, 0
	undisturbed.disk = durable.Disk{Fault: oneByOne(func(_ durable.Step, path string) (bool, error) {
		if filepath.Base(path) == applyLog && first == 0 && mode != parquet.Column {
			first = steps
		}
		steps++
		return false, nil
	})}
	if rep, err := over(undisturbed, root); err != nil || rep.Tables[0].RowsFlagged == 0 {
		t.Fatal(rep.Tables, err)
	}
	if (first > 0) != (mode != parquet.Column) {
		t.Fatalf("apply begins at step %d of %d", first, steps)
	}
	want, wantBeside := data(root), beside(t, root)
	if (len(wantBeside) > 0) != (mode != parquet.Column) {
		t.Fatalf("%d rows beside the data", len(wantBeside))
	}
	powerCuts(t, []powerloss.Cut{{Step: first}}, func(cut powerloss.Cut) bool {
		b, root := prepare()
		power := watch(t, b, root, cut)
		_, err := over(b, root)
		reached := power.Dead()
		if reached && err == nil {
			t.Fatalf("%+v: the loss was not seen", cut)
		}
		if err := power.Lose(); err != nil {
			t.Fatal(err)
		}
		b.disk = durable.Disk{}
		if _, err := over(b, root); err != nil {
			t.Fatalf("%+v: %v", cut, err)
		}
		if !bytes.Equal(data(root), want) {
			t.Fatalf("%+v: other bytes than after an undisturbed run", cut)
		}
		if !slices.Equal(beside(t, root), wantBeside) {
			t.Fatalf("%+v: something else beside the data than after an undisturbed run", cut)
		}
		return reached
	})
}

func parquetTable(t *testing.T, mode parquet.Mode, root string, disk durable.Disk) *parquet.Table {
	t.Helper()
	o := parquet.Options{Table: "crm", Path: filepath.Join(root, "data", "*.parquet"), IDColumn: "euid", Mode: mode, Disk: disk, Workers: 1} // one order of steps
	if o.Mode == parquet.Suppression {
		o.List = filepath.Join(root, "beside", "list.parquet")
	} else if o.Mode == parquet.Remove {
		o.Removed = filepath.Join(root, "beside")
	}
	table, err := parquet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// beside reads what a mode has put beside the data: rows as text, without the
// columns that tell of the run.
func beside(t *testing.T, root string) (rows []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "beside", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		table, err := pqarrow.ReadTable(context.Background(), bytes.NewReader(data), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		lines := make([]string, table.NumRows())
		for i := range int(table.NumCols()) {
			name := table.Schema().Field(i).Name
			if slices.Contains([]string{"run_id", "first_flagged_at", "last_checked_at", parquet.RemovedRun}, name) {
				continue
			}
			row := 0
			for _, chunk := range table.Column(i).Data().Chunks() {
				for n := range chunk.Len() {
					lines[row] += chunk.ValueStr(n) + " "
					row++
				}
			}
		}
		table.Release()
		rows = append(rows, lines...)
	}
	return rows
}
