package idset

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

var euids = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// rowTime is what RowIndex.Each tells of a row.
type rowTime struct{ row, sinceMS int64 }

// collectRows runs cells through a Collector, up to step of them at a time and in
// any order, and returns the digest of the file of rows.
func collectRows(t rapidTB, b *Builder, dir string, cells [][]byte, step int) (ids Info, digest string) {
	t.Helper()
	w := NewRowWriter(durable.Disk{}, filepath.Join(dir, "unit.rows"))
	defer w.Discard()
	c := NewCollector(euids, b, nil)
	c.KeepRows(w)
	var firsts []int
	for first := 0; first < len(cells); first += step {
		firsts = append(firsts, first)
	}
	rand.New(rand.NewPCG(1, uint64(step))).Shuffle(len(firsts), func(i, j int) { firsts[i], firsts[j] = firsts[j], firsts[i] })
	for _, first := range firsts {
		if err := c.Add(schemas.Cells{First: int64(first), Values: cells[first:min(first+step, len(cells))]}); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := b.WriteFile(context.Background(), filepath.Join(dir, "unit.ids"))
	if err != nil {
		t.Fatal(err)
	}
	if digest, err = w.Publish(); err != nil {
		t.Fatal(err)
	}
	return ids, digest
}

type rapidTB interface {
	Helper()
	Fatal(args ...any)
}

// euid makes an id that Parse accepts out of any.
func euid(id schemas.ID) schemas.ID { id[0] = 0x10; return id }

// The rows of the opted-out ids of a unit are found by keys, if no key is that
// of two of its ids, and only then.
func TestRowsOfHits(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	b := NewBuilder(Options{Spill: t.TempDir()})
	defer b.Close()
	known, unknown := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		ids, listed := someIDs(t, "ids", 3000), someIDs(t, "listed", 300)
		copy(listed, ids[:rapid.IntRange(0, min(len(ids), len(listed))).Draw(t, "in common")])
		set, since := NewOptedOut(euids, 0), map[schemas.ID]int64{}
		for i, id := range listed {
			id = euid(id)
			if _, again := since[id]; !again {
				since[id] = int64(i)
			}
			if err := set.Add(schemas.OptOut{ID: id, SinceMS: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		// Cells of all kinds, and the model of what is to be found in them.
		var cells [][]byte
		var want []rowTime
		var nulls []int64
		byKey, hit := map[uint64]map[schemas.ID]bool{}, map[schemas.ID]bool{}
		kinds := rapid.SliceOfN(rapid.IntRange(0, 9), 7, 7).Draw(t, "kinds")
		for i, id := range ids {
			id = euid(id)
			row := int64(i)
			switch kinds[i%7] {
			case 0:
				cells, nulls = append(cells, nil), append(nulls, row)
				continue
			case 1:
				cells = append(cells, []byte("no id"))
				continue
			case 2:
				cells = append(cells, append([]byte(" "), id.AppendText(nil)...))
			default:
				cells = append(cells, id.AppendText(nil))
			}
			if _, _, reason := euids.Parse(cells[i]); reason != schemas.Valid {
				continue
			}
			key := keyOf(id[:])
			if byKey[key] == nil {
				byKey[key] = map[schemas.ID]bool{}
			}
			byKey[key][id] = true
			if ms, ok := since[id]; ok {
				want, hit[id] = append(want, rowTime{row, ms}), true
			}
		}
		info, digest := collectRows(t, b, dir, cells, rapid.IntRange(1, 2000).Draw(t, "step"))
		most := rapid.SampledFrom([]int64{0, int64(len(hit)) - 1, int64(len(hit)), math.MaxInt64}).Draw(t, "most")
		fit := int64(len(hit)) <= most || len(hit) == 0
		for id := range hit {
			fit = fit && len(byKey[keyOf(id[:])]) == 1 && keyOf(id[:]) >= firstKey
		}
		found, err := NewFinder(set).Find(ctx, filepath.Join(dir, "unit.ids"), most)
		if err != nil || found.File != info.Digest || (found.Hits != nil) != fit {
			t.Fatalf("%v, hits %v, want %v", err, found.Hits != nil, fit)
		}
		if len(cells) == 0 {
			if digest != "" {
				t.Fatal("a file without rows")
			}
			return
		}
		rows, got, err := VerifyRows(ctx, filepath.Join(dir, "unit.rows"))
		if err != nil || rows != int64(len(cells)) || got != digest {
			t.Fatalf("%d rows, %v", rows, err)
		}
		if !fit {
			unknown++
			return
		}
		known++
		x, err := OpenRows(filepath.Join(dir, "unit.rows"))
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		first := int64(rapid.IntRange(0, len(cells)).Draw(t, "first"))
		for _, part := range [][2]int64{{0, first}, {first, x.Rows()}, {0, x.Rows()}} {
			var told []rowTime
			n, err := x.Each(ctx, found.Hits, part[0], part[1]-part[0], func(row, ms int64) { told = append(told, rowTime{row, ms}) })
			in := func(row int64) bool { return row >= part[0] && row < part[1] }
			expected := slices.DeleteFunc(slices.Clone(want), func(r rowTime) bool { return !in(r.row) })
			missing := slices.DeleteFunc(slices.Clone(nulls), func(row int64) bool { return !in(row) })
			if err != nil || n != int64(len(missing)) || len(told) != len(expected) || len(told) > 0 && !reflect.DeepEqual(told, expected) {
				t.Fatalf("rows %v: %d opted out, want %d; %d NULLs, want %d; %v", part, len(told), len(expected), n, len(missing), err)
			}
		}
		if _, err := x.Each(ctx, found.Hits, first, x.Rows()-first+1, func(int64, int64) {}); err == nil {
			t.Fatal("a row behind the end was read")
		}
	})
	if known == 0 || unknown == 0 {
		t.Errorf("%d units with known rows, %d without", known, unknown)
	}
}

func TestEveryByteOfRowsIsVerified(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	b := NewBuilder(Options{Spill: dir})
	defer b.Close()
	id := euid(schemas.ID{9: 1})
	collectRows(t, b, dir, [][]byte{id.AppendText(nil), nil}, 1)
	path := filepath.Join(dir, "unit.rows")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 4
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := VerifyRows(ctx, path); err == nil {
			t.Errorf("byte %d was changed, and nobody noticed", i)
		}
		if i >= headerSize && i < headerSize+2*rowsWidth {
			x, err := OpenRows(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Each(ctx, newHits(NewOptedOut(euids, 0), nil), 0, 2, func(int64, int64) {}); err == nil {
				t.Errorf("byte %d was read as it is", i)
			}
			x.Close()
		}
	}
}

// Of cells that are not one for each row, in order, no rows are kept.
func TestRowsOfOtherCellsAreNotKept(t *testing.T) {
	id := euid(schemas.ID{9: 1})
	text := id.AppendText(nil)
	for name, cells := range map[string][]schemas.Cells{
		"lists":         {{Values: [][]byte{text, text}, At: []int64{0, 0}}},
		"counted":       {{Values: [][]byte{text}, Counts: []int64{2}}},
		"without place": {{First: schemas.NoRow, Values: [][]byte{text}}},
		"a gap":         {{Values: [][]byte{text}}, {First: 2, Values: [][]byte{text}}},
		"again":         {{Values: [][]byte{text}}, {Values: [][]byte{text}}, {First: 1, Values: [][]byte{text}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := NewBuilder(Options{Spill: dir})
			defer b.Close()
			w := NewRowWriter(durable.Disk{}, filepath.Join(dir, "unit.rows"))
			defer w.Discard()
			c := NewCollector(euids, b, nil)
			c.KeepRows(w)
			for _, x := range cells {
				if err := c.Add(x); err != nil {
					t.Fatal(err)
				}
			}
			digest, err := w.Publish()
			entries, dirErr := os.ReadDir(dir)
			if err := errors.Join(err, dirErr); err != nil || digest != "" || len(entries) != 0 {
				t.Errorf("digest %q, %v, %v", digest, entries, err)
			}
		})
	}
}
