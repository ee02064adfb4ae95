package optoutlog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	vector := filepath.Join(dir, "optout-delta-000_2025-12-01T00.00.00Z_418810dc.dat")
	badV4 := v4ID(0xB0)
	badV4[5] ^= 1
	mixed := appendSentinel(nil, 0, 100)
	for _, e := range []Entry{
		{ID: schemas.ID{0: 0x00, 1: 1}, Second: 500}, {ID: v4ID(0xB4), Second: 400}, {ID: badV4, Second: 600},
		{ID: schemas.ID{0: 0x13, 1: 1}, Second: 450}, {ID: schemas.ID{0: v2, 1: 1}, Second: 0},
	} {
		mixed = Append(mixed, e)
	}
	mixed = appendSentinel(mixed, 0xFF, 700)
	for path, b := range map[string][]byte{
		vector: vectorDelta(t),
		filepath.Join(dir, "optout-partition-001_2025-12-02T00.00.00Z_00000001.dat"): mixed,
		filepath.Join(dir, "optout-delta-002_2025-12-02T00.00.00Z_00000002.dat"):     nil,
		filepath.Join(dir, "optout-delta-003_2025-12-03T00.00.00Z_00000003.dat"):     vectorDelta(t)[:EntrySize*2+1],
		filepath.Join(dir, "optout-delta-004_2025-12-04T00.00.00Z_00000004.dat"):     vectorDelta(t)[:EntrySize*2],
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, err := Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Files) != 5 || in.EmptyFiles != 1 || in.BadFiles != 3 {
		t.Errorf("%d files, %d empty, %d bad", len(in.Files), in.EmptyFiles, in.BadFiles)
	}
	want := map[string]Counts{
		"optout-delta-000": {Bytes: 288, OptOuts: 2, Sentinels: 2, FirstS: 1764547200, LastS: 1764547260,
			WindowFromS: 1764547200, WindowToS: 1764547500, V2: 1, V3: 1, EUID: 1},
		"optout-partition": {Bytes: 504, OptOuts: 4, Sentinels: 2, FirstS: 400, LastS: 600, WindowFromS: 100, WindowToS: 700,
			V3: 2, V4: 2, UID2: 1, EUID: 3, BadTime: 1, BadPrefix: 1, BadChecksum: 1},
		"optout-delta-002": {},
		"optout-delta-003": {Bytes: 145, OptOuts: 1, Sentinels: 1, FirstS: 1764547200, LastS: 1764547200, WindowFromS: 1764547200, V3: 1, EUID: 1},
		"optout-delta-004": {Bytes: 144, OptOuts: 1, Sentinels: 1, FirstS: 1764547200, LastS: 1764547200, WindowFromS: 1764547200, V3: 1, EUID: 1},
	}
	problems := map[string]string{"optout-partition": "impossible", "optout-delta-003": "1 bytes after", "optout-delta-004": "no closing entry"}
	for _, f := range in.Files {
		key := f.Path[:len("optout-delta-000")]
		if f.Counts != want[key] {
			t.Errorf("%s: %+v, want %+v", f.Path, f.Counts, want[key])
		}
		if !strings.Contains(f.Problem, problems[key]) || (f.Problem == "") != (problems[key] == "") {
			t.Errorf("%s: problem %q", f.Path, f.Problem)
		}
	}
	if in.Total.OptOuts != 8 || in.Total.Bad() != 3 || in.Total.FirstS != 400 || in.Total.WindowFromS != 100 {
		t.Errorf("total %+v", in.Total)
	}
	one, err := Inspect(t.Context(), vector)
	if err != nil || len(one.Files) != 1 || one.Total != want["optout-delta-000"] || one.Files[0].Kind != Delta {
		t.Errorf("one file: %+v %v", one, err)
	}
	b, err := json.Marshal(in)
	if err != nil || strings.Contains(string(b), euidV3) {
		t.Errorf("json: %v", err)
	}
	if _, err := Inspect(t.Context(), filepath.Join(dir, "none")); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("a path that does not exist: %v", err)
	}
}
