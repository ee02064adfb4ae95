package idset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// files in memory for the given sets.
func inMemory(t interface {
	Helper()
	Fatal(...any)
}, sets [][]schemas.ID) (fs []*file) {
	t.Helper()
	for _, set := range sets {
		var out bytes.Buffer
		e := newEncoder(&out, idKind)
		err := e.append(flat(model(set)))
		if err == nil {
			_, err = e.finish()
		}
		e.stop()
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse("test", bytes.NewReader(out.Bytes()), int64(out.Len()), idKind)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	return fs
}

func TestMergeIsTheUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sets [][]schemas.ID
		var all []schemas.ID
		for range rapid.IntRange(0, 6).Draw(t, "files") {
			set := someIDs(t, "ids", 4*blockRecords)
			if len(all) > 0 && rapid.Bool().Draw(t, "overlap") {
				set = append(set, all[:len(all)/2]...)
			}
			sets = append(sets, set)
			all = append(all, set...)
		}
		want := flat(model(all))
		for _, budget := range []int64{0, int64(len(sets)) * 3 * slotBytes, 1 << 30} {
			var got []byte
			if err := merge(context.Background(), inMemory(t, sets), budget, func(records []byte) error {
				got = append(got, records...)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("budget %d: %d ids, want %d", budget, len(got)/idWidth, len(want)/idWidth)
			}
		}
	})
}

func mustMerge(tb testing.TB, opts MergeOptions, units []string, dir string) Manifest {
	tb.Helper()
	m, err := Merge(context.Background(), opts, units, dir)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// contents maps the names of the files in dir to what they hold.
func contents(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	m := make(map[string]string)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		m[e.Name()] = string(data)
	}
	return m
}

func readAll(r *Reader, batch int) (ids []schemas.ID, err error) {
	dst := make([]schemas.ID, batch)
	for {
		n, err := r.Next(dst)
		ids = append(ids, dst[:n]...)
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return ids, nil
		case err != nil:
			return ids, err
		case n < batch && int64(len(ids)) < r.Len():
			return nil, fmt.Errorf("a batch of %d ids before the end", n)
		}
	}
}

func TestShardsAreTheSameHoweverTheyAreMade(t *testing.T) {
	ids := randomIDs(1, 20_000)
	var first map[string]string
	for _, units := range []int{2, 7, unitFanIn + 20} {
		dir, work := t.TempDir(), t.TempDir()
		opts := MergeOptions{Options: Options{Spill: work}, ShardIDs: 3000}
		paths := writeUnits(t, opts.Options, work, ids, units)
		for range 2 { // a merge may be done again
			m := mustMerge(t, opts, append(paths, paths[0]), dir)
			if m.IDs != int64(len(ids)) || len(m.Shards) != 7 {
				t.Fatalf("%d units: %d ids, %d shards", units, m.IDs, len(m.Shards))
			}
		}
		got := contents(t, dir)
		if first == nil {
			first = got
		}
		if !maps.Equal(got, first) || len(got) != 8 {
			t.Fatalf("%d units make other files: %d", units, len(got))
		}
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		back, err := readAll(r, 700)
		r.Close()
		if err != nil || !slices.Equal(back, model(ids)) {
			t.Fatalf("read back %d ids, %v", len(back), err)
		}
		noLeftovers(t, work)
	}
}

func TestMergeOfNothingAndOfOne(t *testing.T) {
	dir := t.TempDir()
	opts := MergeOptions{Options: Options{Spill: dir}, ShardIDs: 1000}
	three := writeUnits(t, opts.Options, t.TempDir(), randomIDs(1, 3000), 1)
	empty := writeUnits(t, opts.Options, t.TempDir(), nil, 1)
	for _, c := range []struct {
		name   string
		units  []string
		ids    int64
		shards int
	}{
		{"one", three, 3000, 1},
		{"one and none", append(three, empty...), 3000, 3},
		{"empty", empty, 0, 0},
		{"two empty", append(empty, empty...), 0, 0},
		{"none", nil, 0, 0},
	} {
		m := mustMerge(t, opts, c.units, dir)
		if m.IDs != c.ids || len(m.Shards) != c.shards || len(contents(t, dir)) != c.shards+1 {
			t.Errorf("%s: %d ids in %d shards, files %d", c.name, m.IDs, len(m.Shards), len(contents(t, dir)))
		}
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		if ids, err := readAll(r, 999); err != nil || int64(len(ids)) != c.ids {
			t.Errorf("%s: read %d ids, %v", c.name, len(ids), err)
		}
		r.Close()
	}
}

func TestReaderFrom(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	ids := model(randomIDs(1, 9000))
	opts := MergeOptions{Options: Options{Spill: work}, ShardIDs: 2500}
	mustMerge(t, opts, writeUnits(t, opts.Options, work, ids, 2), dir)
	rapid.Check(t, func(t *rapid.T) {
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		at := 0 // the next id
		for range rapid.IntRange(1, 50).Draw(t, "calls") {
			asked := randomIDs(rapid.Uint64().Draw(t, "other"), 1)[0]
			if rapid.Bool().Draw(t, "of the set") {
				asked = ids[rapid.IntRange(0, len(ids)-1).Draw(t, "which")]
			}
			for at < len(ids) && Compare(ids[at], asked) < 0 {
				at++
			}
			switch id, err := r.From(&asked); {
			case err != nil || (id == nil) != (at == len(ids)) || id != nil && *id != ids[at]:
				t.Fatalf("at %d of %d: %v, %v", at, len(ids), id, err)
			case id != nil && rapid.Bool().Draw(t, "pass"):
				r.Pass()
				at++
			}
		}
	})
}

func TestReaderSeekTo(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	ids := model(randomIDs(1, 9000))
	opts := MergeOptions{Options: Options{Spill: work}, ShardIDs: 2500}
	mustMerge(t, opts, writeUnits(t, opts.Options, work, ids, 2), dir)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(ids)).Draw(t, "at")
		if err := r.SeekTo(int64(at)); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "reads") {
			dst := make([]schemas.ID, rapid.IntRange(1, 3000).Draw(t, "batch"))
			n, err := r.Next(dst)
			want := ids[at:min(at+len(dst), len(ids))]
			if !slices.Equal(dst[:n], want) || (len(want) == 0) != errors.Is(err, io.EOF) || err != nil && len(want) > 0 {
				t.Fatalf("at %d: %d ids, want %d, %v", at, n, len(want), err)
			}
			at += n
		}
	})
	for _, n := range []int64{-1, int64(len(ids)) + 1} {
		if err := r.SeekTo(n); err == nil {
			t.Errorf("SeekTo(%d) gives no error", n)
		}
	}
	if n, err := r.Next(nil); n != 0 || err != nil {
		t.Errorf("Next(nil) gives %d, %v", n, err)
	}
}

// Whatever byte of the folder is flipped, the reader fails or is not affected.
func TestReaderDetectsDamage(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	ids := randomIDs(1, 200)
	opts := MergeOptions{Options: Options{Spill: work}, ShardIDs: 100}
	mustMerge(t, opts, writeUnits(t, opts.Options, work, ids, 2), dir)
	damaged := 0
	for name, content := range contents(t, dir) {
		step := 1
		if name != ManifestName {
			step = 61 // TestFileDetectsEveryFlippedByte has the others
		}
		for i := 0; i < len(content); i += step {
			data := []byte(content)
			data[i] ^= 1 << (i % 8)
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := OpenReader(dir)
			if err == nil {
				var got []schemas.ID
				got, err = readAll(r, 64)
				r.Close()
				if err == nil && !slices.Equal(got, model(ids)) {
					t.Fatalf("%s, byte %d: wrong ids", name, i)
				}
			}
			if err != nil {
				damaged++
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if damaged < 400 {
		t.Fatalf("only %d errors", damaged)
	}
}

func TestReaderRefusesShardOfAnotherSet(t *testing.T) {
	work, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	opts := MergeOptions{Options: Options{Spill: work}}
	mustMerge(t, opts, writeUnits(t, opts.Options, work, randomIDs(1, 100), 1), dir)
	mustMerge(t, opts, writeUnits(t, opts.Options, work, randomIDs(2, 100), 1), other)
	if err := os.Rename(filepath.Join(other, shardName(0)), filepath.Join(dir, shardName(0))); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := readAll(r, 10); err == nil || !strings.Contains(err.Error(), "not the shard") {
		t.Fatalf("got %v", err)
	}
}

// At every fault the folder is either without a manifest, or complete.
func TestMergeFaults(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	ids := randomIDs(1, 6000)
	opts := MergeOptions{Options: Options{Spill: work}, ShardIDs: 1500}
	mustMerge(t, opts, writeUnits(t, opts.Options, t.TempDir(), randomIDs(2, 9000), 3), dir)
	before := contents(t, dir)
	restore := func() {
		for name, data := range before {
			path := filepath.Join(dir, name)
			_ = os.Remove(path) // it may be a second name of a unit
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, units := range map[string][]string{
		"one":     writeUnits(t, opts.Options, t.TempDir(), ids, 1),
		"some":    writeUnits(t, opts.Options, t.TempDir(), ids, 5),
		"rebuilt": writeUnits(t, opts.Options, t.TempDir(), ids, unitFanIn+1),
	} {
		t.Run(name, func(t *testing.T) {
			faults(t, dir, restore,
				func(disk durable.Disk) error {
					o := opts
					o.Disk = disk
					_, err := Merge(context.Background(), o, units, dir)
					return err
				},
				func(step durable.Step, path string, stored bool) {
					r, err := OpenReader(dir)
					if errors.Is(err, fs.ErrNotExist) {
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					got, err := readAll(r, 5000)
					if err != nil || len(got) != 9000 && !slices.Equal(got, model(ids)) {
						t.Fatalf("after a fault at %s (stored %v): %d ids, %v", step, stored, len(got), err)
					}
				})
			mustMerge(t, opts, units, dir)
			if len(contents(t, dir)) > 5 {
				t.Fatal("shards of the set before are left")
			}
		})
	}
}

func TestMergeFailsOnDamagedUnit(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	opts := MergeOptions{Options: Options{Spill: work}}
	units := writeUnits(t, opts.Options, work, randomIDs(1, 5000), 2)
	data, err := os.ReadFile(units[1])
	if err != nil {
		t.Fatal(err)
	}
	data[50_000] ^= 1
	if err := os.WriteFile(units[1], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(context.Background(), opts, units, dir); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Fatalf("got %v", err)
	}
	if len(contents(t, dir)) != 0 {
		t.Fatal("a failed merge leaves files")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"ids":0,"shards":null}`))
	f.Add([]byte(`{"version":1,"ids":2,"shards":[{"name":"shard-000000.ids","ids":2,"bytes":126,"digest":"00"}]}`))
	f.Add([]byte(`{"version":1,"ids":9223372036854775807,"shards":[{"name":"shard-000000.ids","ids":9223372036854775807},{"name":"shard-000001.ids","ids":1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest("test", text)
		if err != nil {
			return
		}
		var sum int64
		for i, s := range m.Shards {
			if s.Name != shardName(i) || s.IDs <= 0 {
				t.Fatalf("shard %+v passes", s)
			}
			sum += s.IDs
		}
		if sum != m.IDs {
			t.Fatalf("%d ids, but shards hold %d", m.IDs, sum)
		}
	})
}
