package parquet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

var (
	mutations    = flag.Int("mutations", 1200, "damaged files to try")
	mutationSeed = flag.Uint64("mutation-seed", 1, "of the damage")
)

// subjects are the fixtures and files of arrow v17, each as it is and flagged.
func subjects(t *testing.T) (all []subject) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	files := map[string][]byte{}
	for _, f := range fixtures(t) {
		files[filepath.Base(f)] = read(t, f)
	}
	codecs := []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Zstd}
	encodings := []pq.Encoding{pq.Encodings.Plain, pq.Encodings.DeltaByteArray, pq.Encodings.DeltaLengthByteArray}
	for i := range 12 {
		s := shape{
			groups: []int{40 + i, 0, 90}, nulls: i % 4, distinct: 30, extra: i % 3, required: i%5 == 0, flags: i%2 == 1, schema: i%3 == 0,
			props: []pq.WriterProperty{
				pq.WithCompression(codecs[i%len(codecs)]), pq.WithDataPageSize(int64(400 + 100*i)), pq.WithBatchSize(16),
				pq.WithDictionaryDefault(i >= 6), pq.WithEncoding(pq.Encodings.Plain),
			},
		}
		if i < 6 {
			s.props = append(s.props, pq.WithEncodingFor("euid", encodings[i%len(encodings)]))
		}
		if i%2 == 0 {
			s.props = append(s.props, pq.WithDataPageVersion(pq.DataPageV2))
		}
		s.write(t, path)
		files[fmt.Sprintf("arrow-%02d.parquet", i)] = read(t, path)
	}
	for _, name := range sortedKeys(files) {
		put(t, path, files[name])
		tab := table(t, path)
		apply(t, tab, plan(t, tab)[0], rule)
		for _, f := range []struct {
			name string
			data []byte
		}{{name, files[name]}, {"flagged " + name, read(t, path)}} {
			s, err := newSubject(f.name, f.data)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
	}
	return all
}

func sortedKeys(m map[string][]byte) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// patience is how long one damaged file may keep a call busy: some claim two
// thousand million rows of NULL in ten bytes, which is true. A call that does
// not heed it hangs, and the test with it.
const patience = 2 * time.Second

// enough is how much a call may allocate for a file of size bytes: buffers of
// codecs and of copies, pages of up to 64 MB whatever their size in the file,
// and then some for every byte.
func enough(size int) uint64 { return 400<<20 + 256*uint64(size) }

// victim is one damaged file in a folder of its own.
type victim struct {
	t    *testing.T
	name string
	dir  string
	path string
	data []byte
	most *uint64 // that a call has allocated
}

// call runs one entry point and measures what it allocates.
func (v victim) call(what string, f func(ctx context.Context) error) error {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f(ctx)
	runtime.ReadMemStats(&after)
	got := after.TotalAlloc - before.TotalAlloc
	*v.most = max(*v.most, got)
	if got > enough(len(v.data)) {
		v.t.Fatalf("%s: %s allocates %d MB for %d bytes", v.name, what, got>>20, len(v.data))
	}
	return err
}

// digest sums up the cells of a unit.
func (v victim) digest(tab *parquet.Table, u schemas.Unit) (sum string, err error) {
	h := sha256.New()
	rows := int64(0)
	err = v.call("scan", func(ctx context.Context) error {
		return tab.Scan(ctx, u, func(c schemas.Cells) error {
			for _, cell := range c.Values {
				length := int64(-1)
				if cell != nil {
					length = int64(len(cell))
				}
				h.Write(binary.LittleEndian.AppendUint64(nil, uint64(length)))
				h.Write(cell)
			}
			rows += int64(len(c.Values))
			return nil
		})
	})
	if err == nil && rows != u.Rows {
		v.t.Fatalf("%s: %d cells, %d rows", v.name, rows, u.Rows)
	}
	return string(h.Sum(nil)), err
}

// try puts a damaged file through everything that reads or writes files, and
// tells whether flags could be written.
func (v victim) try() bool {
	if err := os.WriteFile(v.path, v.data, 0o600); err != nil {
		v.t.Fatal(err)
	}
	tab := table(v.t, v.path)
	var units []schemas.Unit
	if err := v.call("plan", func(ctx context.Context) (err error) {
		units, _, err = tab.Plan(ctx)
		return err
	}); err != nil {
		v.t.Fatalf("%s: plan: %v", v.name, err)
	}
	for _, u := range units {
		return v.tryUnit(tab, u)
	}
	return false
}

func (v victim) tryUnit(tab *parquet.Table, u schemas.Unit) bool {
	cells, scanErr := v.digest(tab, u)
	var found, previewed, applied schemas.Receipt
	findErr := v.call("find", func(ctx context.Context) (err error) {
		found, err = tab.Find(ctx, u, rule, nil)
		return err
	})
	previewErr := v.call("preview", func(ctx context.Context) (err error) {
		previewed, err = tab.Preview(ctx, u, rule)
		return err
	})
	cleaned := filepath.Join(v.dir, "clean.parquet")
	if err := v.call("clean", func(ctx context.Context) error {
		made, err := tab.Clean(ctx, u, rule, cleaned)
		if err == nil {
			made.Discard()
		}
		return err
	}); err == nil && findErr != nil && !errors.Is(findErr, context.DeadlineExceeded) {
		v.t.Fatalf("%s: there is a clean copy, but: %v", v.name, findErr)
	}
	if !bytes.Equal(read(v.t, v.path), v.data) {
		v.t.Fatalf("%s: reading has changed the file", v.name)
	}
	applyErr := v.call("apply", func(ctx context.Context) (err error) {
		applied, err = tab.Apply(ctx, u, rule, nothing)
		return err
	})
	if entries, err := os.ReadDir(v.dir); err != nil || len(entries) != 1 {
		v.t.Fatalf("%s: %d files left, %v", v.name, len(entries), err)
	}
	after := read(v.t, v.path)
	if applyErr != nil {
		if !bytes.Equal(after, v.data) {
			v.t.Fatalf("%s: apply has failed and changed the file: %v", v.name, applyErr)
		}
		return false
	}
	switch {
	case applied.Confirmed != applied.Flagged, applied.Rows != u.Rows, applied.Changed == bytes.Equal(after, v.data):
		v.t.Fatalf("%s: receipt %+v", v.name, applied)
	case scanErr != nil && !errors.Is(scanErr, context.DeadlineExceeded):
		v.t.Fatalf("%s: applied, but scan says %v", v.name, scanErr)
	case previewErr == nil && (previewed.Flagged != applied.Flagged || previewed.BytesAfter != applied.BytesAfter):
		v.t.Fatalf("%s: preview %+v, apply %+v", v.name, previewed, applied)
	case findErr == nil && found.OptedOut != applied.OptedOut:
		v.t.Fatalf("%s: find %+v, apply %+v", v.name, found, applied)
	}
	v.confirm(cells, scanErr)
	return true
}

// confirm checks the file that Apply has left: the same cells, no flag missing.
func (v victim) confirm(cells string, scanErr error) {
	tab := table(v.t, v.path)
	u := plan(v.t, tab)[0]
	if now, err := v.digest(tab, u); scanErr == nil && err == nil && now != cells {
		v.t.Fatalf("%s: the ids have changed", v.name)
	} else if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		v.t.Fatalf("%s: scan after apply: %v", v.name, err)
	}
	if err := v.call("find after apply", func(ctx context.Context) error {
		_, err := tab.Find(ctx, u, rule, func(row int64, _ []byte) { v.t.Errorf("%s: no flag in row %d", v.name, row) })
		return err
	}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		v.t.Fatalf("%s: find after apply: %v", v.name, err)
	}
}

// TestMutatedFiles damages good files by the thousand. Whatever reads them ends
// in a result or an error, soon and in little memory; Apply leaves the file as
// it was, or flags it whole.
func TestMutatedFiles(t *testing.T) {
	seeds := subjects(t)
	dir := t.TempDir()
	good := 0
	var most uint64
	for n := range *mutations {
		s := seeds[n%len(seeds)]
		v := victim{
			t: t, dir: dir, path: filepath.Join(dir, "x.parquet"), most: &most,
			name: fmt.Sprintf("%s, -mutation-seed %d, mutation %d", s.name, *mutationSeed, n),
			data: s.mutate(rand.New(rand.NewPCG(*mutationSeed, uint64(n)))),
		}
		if v.try() {
			good++
		}
	}
	t.Logf("%d damaged files, %d flagged; at most %d MB allocated by a call", *mutations, good, most>>20)
	if good < *mutations/100 || good > *mutations*9/10 {
		t.Fatal("the mutations prove nothing")
	}
}
