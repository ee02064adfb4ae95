package parquet_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestPlanListsDataFilesOnly(t *testing.T) {
	dir := t.TempDir()
	good := read(t, filepath.Join(fixtureDir, "pyarrow-required.parquet"))
	for _, name := range []string{
		"b/part-1.parquet", "a/part-0.parquet", "a/_x=1/part.parquet", // data
		"_temporary/0/part.parquet", ".hidden/part.parquet", "a/_SUCCESS", "a/.part-0.parquet.x.optsweep-tmp",
	} {
		put(t, filepath.Join(dir, name), good)
	}
	// Links to folders are followed; of two ways to a file the first counts.
	put(t, filepath.Join(dir, "c", "part-2.parquet"), good)
	link(t, filepath.Join(dir, "c"), filepath.Join(dir, "b", "also"))
	link(t, filepath.Join(dir, "c", "part-2.parquet"), filepath.Join(dir, "c", "twice.parquet"))
	tab := table(t, filepath.Join(dir, "**", "*"))
	var names []string
	for _, u := range plan(t, tab) {
		names = append(names, u.Name)
		if u.Table != "t" || u.Rows != 360 || u.Bytes != int64(len(good)) || u.Version == "" {
			t.Errorf("unit %+v", u)
		}
	}
	want := []string{"a/_x=1/part.parquet", "a/part-0.parquet", "b/also/part-2.parquet", "b/part-1.parquet"}
	if !slices.Equal(names, want) {
		t.Fatalf("units %q", names)
	}
	explicit := table(t, filepath.Join(dir, "_temporary", "*", "*.parquet"))
	if units := plan(t, explicit); len(units) != 1 || units[0].Name != "0/part.parquet" {
		t.Fatalf("units %+v", units)
	}
}

func TestPlanFailures(t *testing.T) {
	good := read(t, filepath.Join(fixtureDir, "pyarrow-required.parquet"))
	for name, lay := range map[string]func(dir string){
		"is gone": func(dir string) {
			link(t, filepath.Join(dir, "nowhere"), filepath.Join(dir, "x.parquet"))
		},
		"is not a regular file": func(dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "x.parquet"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"is not a Parquet file": func(dir string) { put(t, filepath.Join(dir, "x.parquet"), []byte("hello, this is text")) },
		"cut off":               func(dir string) { put(t, filepath.Join(dir, "x.parquet"), good[:len(good)-20]) },
		"claims a length": func(dir string) {
			bad := slices.Clone(good)
			bad[len(bad)-6] = 0xFF
			put(t, filepath.Join(dir, "x.parquet"), bad)
		},
		"the footer": func(dir string) {
			bad := slices.Clone(good)
			start := len(bad) - 8 - int(binary.LittleEndian.Uint32(bad[len(bad)-8:]))
			bad[start] = 0xFF
			put(t, filepath.Join(dir, "x.parquet"), bad)
		},
		"is encrypted": func(dir string) {
			put(t, filepath.Join(dir, "x.parquet"), append(slices.Clone(good[:len(good)-4]), "PARE"...))
		},
		"belongs to the Delta table": func(dir string) {
			put(t, filepath.Join(dir, "day=1", "x.parquet"), good)
			put(t, filepath.Join(dir, "_delta_log", "0.json"), nil)
		},
		"belongs to the Hudi table": func(dir string) {
			put(t, filepath.Join(dir, "x.parquet"), good)
			put(t, filepath.Join(dir, ".hoodie", "hoodie.properties"), nil)
		},
		"belongs to the Iceberg table": func(dir string) {
			put(t, filepath.Join(dir, "data", "x.parquet"), good)
			put(t, filepath.Join(dir, "metadata", "v1.metadata.json"), nil)
		},
		"would go stale": func(dir string) {
			put(t, filepath.Join(dir, "x.parquet"), good)
			put(t, filepath.Join(dir, "_metadata"), good)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(dir)
			units, failed, err := table(t, filepath.Join(dir, "**", "*.parquet")).Plan(context.Background())
			if err != nil || len(units) != 0 || len(failed) != 1 {
				t.Fatalf("units %v, failed %v, err %v", units, failed, err)
			}
			if f := failed[0]; !strings.Contains(f.Error, name) || f.Hint == "" || f.Unit == "" || f.Table != "t" {
				t.Fatalf("failure %+v", f)
			}
		})
	}
}

func TestPlanErrors(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "x.parquet"), nil)
	for path, want := range map[string]string{
		filepath.Join(dir, "*.parq"): "no file matches",
		filepath.Join(dir, "[a"):     "not a valid pattern",
		dir:                          "is a folder",
		filepath.Join(dir, "no", "such", "x.parquet"): "no file matches",
	} {
		_, _, err := table(t, path).Plan(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	link(t, dir, filepath.Join(dir, "circle"))
	_, _, err := table(t, filepath.Join(dir, "**", "*.parquet")).Plan(context.Background())
	if err == nil || !strings.Contains(schemas.HintOf(err), "circle") {
		t.Errorf("links in a circle: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := table(t, filepath.Join(dir, "*.parquet")).Plan(ctx); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []parquet.Options{
		{Path: "x"}, {IDColumn: "euid"}, {Path: "x", IDColumn: "Opted_Out_Since"}, {Path: "x", IDColumn: "a", Column: "A"},
	} {
		if _, err := parquet.New(o); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestMissingColumnNamesSimilarOnes(t *testing.T) {
	for id, want := range map[string]string{"EUID": "euid", "euidd": "euid", "row": "row_id", "zzz": "none"} {
		tab, err := parquet.New(parquet.Options{Path: filepath.Join(fixtureDir, "pyarrow-gzip.parquet"), IDColumn: id})
		if err != nil {
			t.Fatal(err)
		}
		_, failed, err := tab.Plan(context.Background())
		if err != nil || len(failed) != 1 || !strings.HasSuffix(failed[0].Hint, ": "+want) {
			t.Errorf("%s: %+v %v", id, failed, err)
		}
	}
	for id, want := range map[string]string{"list": "list or a map", "struct": "is a struct", "list[]": "INT32", "struct.x": "INT32", "struct[]": "no list", "struct.x.y": "no column", "big": "INT64", "fixed": "16 bytes", "struct.y": "is a struct"} {
		tab, err := parquet.New(parquet.Options{Path: filepath.Join(fixtureDir, "pyarrow-zstd-v2.parquet"), IDColumn: id})
		if err != nil {
			t.Fatal(err)
		}
		_, failed, err := tab.Plan(context.Background())
		if err != nil || len(failed) != 1 || !strings.Contains(failed[0].Error, want) || failed[0].Hint == "" {
			t.Errorf("%s: %+v %v", id, failed, err)
		}
	}
}
