package optoutlog

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func failAt(step durable.Step, nth int, stored bool) (durable.Disk, error) {
	broken := errors.New("broken disk")
	var mu sync.Mutex
	count := 0
	return durable.Disk{Fault: func(at durable.Step, _ string) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if at == step {
			if count++; count == nth {
				return stored, broken
			}
		}
		return false, nil
	}}, broken
}

// The file is the one that the opt-out service would have written.
func TestWriteVector(t *testing.T) {
	dir := t.TempDir()
	start := time.Unix(1764547200, 0)
	want := vectorDelta(t)
	var es []Entry
	for i := EntrySize; i < 3*EntrySize; i += EntrySize {
		e, _, err := Decode((*[EntrySize]byte)(want[i:]))
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	path, err := Write(WriterOptions{Dir: dir, Replica: 12, Start: start, End: start.Add(5 * time.Minute)}, es)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != string(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	name, ok := ParseName(filepath.Base(path))
	if !ok || name.Kind != Delta || name.Replica != 12 || !name.Time.Equal(start) {
		t.Errorf("name %s", path)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	badV4 := v4ID(0xB0)
	badV4[5] ^= 1
	for name, es := range map[string][]Entry{
		"time 0":       {NewEntry(randomID(chacha(1)), 0)},
		"far future":   {NewEntry(randomID(chacha(1)), maxSecond+1)},
		"v4 check sum": {NewEntry(badV4, 1)},
	} {
		if path, err := Write(WriterOptions{Dir: dir, Start: t0, End: t0}, es); err == nil {
			t.Errorf("%s: wrote %s", name, path)
		}
	}
	for _, replica := range []int{-1, Synthetic, 1000} {
		if _, err := Create(WriterOptions{Dir: dir, Replica: replica}); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("replica %d: %v", replica, err)
		}
	}
	if path, err := Write(WriterOptions{Dir: dir, Start: t0, End: t0}, nil); err != nil || path != "" {
		t.Errorf("no entries: %q %v", path, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

// Whichever step fails, a reader sees the whole file or none.
func TestWriteFaults(t *testing.T) {
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename, durable.SyncDir} {
		for _, stored := range []bool{false, true} {
			dir := t.TempDir()
			disk, broken := failAt(step, 1, stored)
			path, err := Write(WriterOptions{Dir: dir, Start: t0, End: t0, Disk: disk}, entries(ids(20, 3), 9))
			if !errors.Is(err, broken) || path != "" {
				t.Errorf("%s, stored %t: %q %v", step, stored, path, err)
			}
			s := New(Options{Dir: dir, AllowEmpty: true})
			load(t, s)
			if n := s.Snapshot().Stats().IDs; n != 0 && n != 3 {
				t.Errorf("%s, stored %t: %d ids", step, stored, n)
			}
			left, _ := filepath.Glob(filepath.Join(dir, ".*"))
			if len(left) != 0 {
				t.Errorf("%s, stored %t: %d temporary files are left", step, stored, len(left))
			}
		}
	}
}
