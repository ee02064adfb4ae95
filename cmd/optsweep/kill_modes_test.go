package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// rowsOf reads Parquet files as sorted lines of text, without the columns that
// tell of a run.
func rowsOf(t *testing.T, pattern string) (rows []string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		table, err := pqarrow.ReadTable(context.Background(), f, nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		first := len(rows)
		rows = append(rows, make([]string, table.NumRows())...)
		for i := range int(table.NumCols()) {
			name := table.Schema().Field(i).Name
			if slices.Contains([]string{"run_id", "first_flagged_at", "last_checked_at", "optsweep_run_id"}, name) {
				continue
			}
			row := first
			for _, chunk := range table.Column(i).Data().Chunks() {
				for n := range chunk.Len() {
					rows[row] += name + "=" + chunk.ValueStr(n) + " "
					row++
				}
			}
		}
		table.Release()
	}
	slices.Sort(rows)
	return rows
}

// A run in another mode that is killed at any moment and started again ends with
// the data of an undisturbed one, and with what it keeps beside the data: no row
// and no id is missing or there twice.
func TestKilledRunOfOtherModesEndsLikeAnUndisturbedOne(t *testing.T) {
	ctx := context.Background()
	for mode, beside := range map[string]string{"suppression": "workspace/suppressed/crm.parquet", "remove": "workspace/removed/crm/*.parquet"} {
		t.Run(mode, func(t *testing.T) {
			source := filepath.Join(t.TempDir(), "demo")
			mustSucceed(t, program(ctx, t, "demo", "--rows", "4000", "--dir", source, "--no-run"))
			config := filepath.Join(source, "optsweep.yaml")
			job, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(job), "{mode: column, column: opted_out_since}", "{mode: "+mode+"}", 1)
			if changed == string(job) {
				t.Fatal("the job file of the demo is not what it was")
			}
			if err := os.WriteFile(config, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			before := rowsOf(t, filepath.Join(source, "data/*.parquet"))
			began := time.Now()
			once := copyOf(t, source)
			mustSucceed(t, program(ctx, t, "run", "--config", filepath.Join(once, "optsweep.yaml")))
			took := time.Since(began)
			want, err := digests(filepath.Join(once, "data"))
			if err != nil {
				t.Fatal(err)
			}
			wantBeside := rowsOf(t, filepath.Join(once, beside))
			left := rowsOf(t, filepath.Join(once, "data/*.parquet"))
			if len(wantBeside) == 0 || mode == "remove" && len(left)+len(wantBeside) != len(before) || mode == "suppression" && !slices.Equal(left, before) {
				t.Fatalf("%d rows before, %d after, %d beside", len(before), len(left), len(wantBeside))
			}

			landed := 0
			for n := range (*kills + 2) / 3 {
				dir := copyOf(t, source)
				config := filepath.Join(dir, "optsweep.yaml")
				delay := time.Duration(rand.Int64N(int64(took)))
				killed, cancel := context.WithTimeout(ctx, delay)
				err := program(killed, t, "run", "--config", config).Run()
				cancel()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.ExitCode() == -1 {
					landed++
				}
				mustSucceed(t, program(ctx, t, "run", "--config", config))
				got, err := digests(filepath.Join(dir, "data"))
				if err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("kill %d after %s of %s", n, delay, took)
				if !sameDigests(got, want) {
					t.Fatalf("%s: the files differ from those of an undisturbed run", name)
				}
				if !slices.Equal(rowsOf(t, filepath.Join(dir, beside)), wantBeside) {
					t.Fatalf("%s: what is kept beside them differs", name)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d of %d kills hit a running process", landed, (*kills+2)/3)
		})
	}
}
