package idset

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// someIDs draws ids of one of several kinds: random, alike in the bytes that
// are sorted first, or the same few again and again.
func someIDs(t *rapid.T, label string, maxLen int) []schemas.ID {
	n := rapid.IntRange(0, maxLen).Draw(t, label+" length")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, label+" seed"), 0))
	shape := rapid.SampledFrom([]string{"random", "few", "same key", "one part", "counter"}).Draw(t, label+" shape")
	ids := make([]schemas.ID, n)
	for i := range ids {
		id := &ids[i]
		for j := range id {
			id[j] = byte(r.Uint32())
		}
		switch shape {
		case "few":
			*id = schemas.ID{4: byte(r.IntN(3)), 11: byte(r.IntN(3)), 32: byte(r.IntN(3))}
		case "same key":
			copy(id[keyAt:], "the same key")
		case "one part":
			id[keyAt] = 7
		case "counter":
			*id = schemas.ID{0: 0x10, 31: byte(i >> 8), 32: byte(i)}
		}
	}
	return ids
}

// model is what a set of ids should come out as.
func model(ids []schemas.ID) []schemas.ID {
	sorted := slices.SortedFunc(slices.Values(ids), Compare)
	return slices.Compact(sorted)
}

// encode makes a file in memory.
func encode(tb testing.TB, k kind, records []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	e := newEncoder(&out, k)
	defer e.stop()
	if err := e.append(records); err != nil {
		tb.Fatal(err)
	}
	info, err := e.finish()
	if err != nil {
		tb.Fatal(err)
	}
	if info.Bytes != int64(out.Len()) || info.IDs != int64(len(records)/k.width()) {
		tb.Fatalf("info %+v of a file of %d bytes", info, out.Len())
	}
	return out.Bytes()
}

func encodeIDs(tb testing.TB, ids []schemas.ID) []byte {
	var records []byte
	for _, id := range ids {
		records = append(records, id[:]...)
	}
	return encode(tb, idKind, records)
}

// decode reads all records of a file in memory.
func decode(data []byte, k kind) ([]byte, error) {
	f, err := parse("test", bytes.NewReader(data), int64(len(data)), k)
	if err != nil {
		return nil, err
	}
	var records []byte
	for c := newCursor(f); ; {
		if err := c.fill(); errors.Is(err, io.EOF) {
			return records, nil
		} else if err != nil {
			return nil, err
		}
		records = append(records, c.rest...)
		c.rest = nil
	}
}

func readFile(tb testing.TB, path string) []schemas.ID {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	records, err := decode(data, idKind)
	if err != nil {
		tb.Fatal(err)
	}
	var ids []schemas.ID
	for ; len(records) > 0; records = records[idWidth:] {
		ids = append(ids, *record(records))
	}
	return ids
}

func TestFileDetectsEveryFlippedByte(t *testing.T) {
	for _, k := range []kind{idKind, listKind} {
		const n = blockRecords + 100
		records := bytes.Repeat([]byte("0123456789abcdef"), n*k.width()/16+1)
		data := encode(t, k, records[:n*k.width()])
		for i := range data {
			if inside := i > headerSize+idWidth && i < headerSize+(n-1)*k.width(); inside && i%11 != 0 {
				continue // a checksum treats all bytes of a block alike
			}
			data[i] ^= 1 << (i % 8)
			if _, err := decode(data, k); err == nil || !strings.Contains(err.Error(), "is damaged") || schemas.HintOf(err) == "" {
				t.Fatalf("kind %q, byte %d of %d flipped: %v", k, i, len(data), err)
			}
			data[i] ^= 1 << (i % 8)
		}
		if _, err := decode(data, k); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileDetectsEveryOtherLength(t *testing.T) {
	data := encodeIDs(t, randomIDs(1, blockRecords+100))
	for n := range data {
		if _, err := decode(data[:n], idKind); err == nil {
			t.Fatalf("cut to %d of %d bytes: no error", n, len(data))
		}
	}
	for n := range 100 {
		if _, err := decode(append(data[:len(data):len(data)], make([]byte, n+1)...), idKind); err == nil {
			t.Fatalf("%d bytes more: no error", n+1)
		}
	}
}

func TestFileOfOtherKindIsRefused(t *testing.T) {
	if _, err := decode(encode(t, listKind, nil), idKind); err == nil {
		t.Fatal("a list passes for a file of ids")
	}
}

// A file that shrinks while it is read is damaged, not short.
func TestFileThatShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ids")
	if err := os.WriteFile(path, encodeIDs(t, randomIDs(1, 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := open(path, idKind)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := os.Truncate(path, 2000*idWidth); err != nil {
		t.Fatal(err)
	}
	c := newCursor(f)
	if err := c.seek(2500); err == nil || !strings.Contains(err.Error(), "ends early") {
		t.Fatalf("got %v", err)
	}
	if err := c.fill(); err == nil {
		t.Fatal("a cursor goes on after an error")
	}
}

func FuzzFile(f *testing.F) {
	ids := randomIDs(1, blockRecords+3)
	f.Add(encodeIDs(f, nil))
	f.Add(encodeIDs(f, ids[:1]))
	f.Add(encodeIDs(f, ids))
	f.Add(encodeIDs(f, ids)[:500])
	f.Add(encode(f, listKind, make([]byte, 3*listWidth)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, k := range []kind{idKind, listKind} {
			records, err := decode(data, k)
			if err != nil {
				continue
			}
			if !bytes.Equal(encode(t, k, records), data) {
				t.Fatal("a file that is read without error is written differently")
			}
		}
	})
}

var errFault = errors.New("injected fault")

// faults runs action once to count its durable steps, and then with a fault at
// each of them, once not stored and once stored. Every time it must fail with
// the fault and leave no temporary file in dir; then check is called. prepare
// is called before each run.
func faults(t *testing.T, dir string, prepare func(), action func(durable.Disk) error, check func(step durable.Step, path string, stored bool)) {
	t.Helper()
	type place struct {
		step durable.Step
		path string
	}
	run := func(failAt int, stored bool) (places []place, err error) {
		prepare()
		var mu sync.Mutex
		err = action(durable.Disk{Fault: func(step durable.Step, path string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			places = append(places, place{step, path})
			if len(places) == failAt {
				return stored, errFault
			}
			return false, nil
		}})
		return places, err
	}
	all, err := run(0, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d steps", len(all))
	}
	for i := range all {
		for _, stored := range []bool{false, true} {
			places, err := run(i+1, stored)
			at := places[i]
			if !errors.Is(err, errFault) {
				t.Fatalf("fault %d of %d (%s, stored %v): got %v", i+1, len(all), at.step, stored, err)
			}
			noLeftovers(t, dir)
			check(at.step, at.path, stored)
		}
	}
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), durable.TempSuffix) {
			t.Fatalf("%s is left over", e.Name())
		}
	}
}
