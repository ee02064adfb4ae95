package optoutlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func openJournal(t testing.TB, dir string, disk durable.Disk) *Journal {
	t.Helper()
	j, err := OpenJournal(JournalOptions{Dir: dir, Replica: 3, Now: func() time.Time { return t0 }, Disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// killed copies what is on disk, opens its journal, and gives the ids served
// afterwards.
func killed(t testing.TB, dir string) *Store {
	t.Helper()
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	openJournal(t, other, durable.Disk{})
	s := New(Options{Dir: other, AllowEmpty: true})
	load(t, s)
	return s
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	all := append(ids(30, 3), v4ID(0xB0))
	j := openJournal(t, dir, durable.Disk{})
	for i, id := range all {
		if err := j.Append(NewEntry(id, int64(10+i))); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, since(killed(t, dir), all), 10, 11, 12, 13)
	if j.Held() != 4 {
		t.Errorf("%d held", j.Held())
	}
	if _, err := OpenJournal(JournalOptions{Dir: dir}); schemas.ClassOf(err) != schemas.Locked {
		t.Errorf("opened twice: %v", err)
	}
	path, err := j.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := ParseName(filepath.Base(path)); !ok || name.Replica != 3 || !name.Time.Equal(t0) {
		t.Errorf("delta %s", path)
	}
	s := New(Options{Dir: dir})
	load(t, s)
	equal(t, since(s, all), 10, 11, 12, 13)
	if path, err := j.Rotate(); err != nil || path != "" || j.Held() != 0 {
		t.Errorf("rotated again: %q %v, %d held", path, err, j.Held())
	}
	if err := j.Append(NewEntry(all[0], 5)); err != nil {
		t.Fatal(err)
	}
	equal(t, since(killed(t, dir), all), 5, 11, 12, 13)
	if err := j.Append(NewEntry(all[0], 0)); err == nil {
		t.Error("time 0 is accepted")
	}
}

// Bytes at the end that were never acknowledged are dropped, whatever they
// are; what was acknowledged is kept.
func TestJournalTornEnd(t *testing.T) {
	all := ids(31, 2)
	torn := Append(nil, NewEntry(all[1], 20))
	for name, end := range map[string][]byte{
		"half an entry": torn[:40], "zeros": make([]byte, EntrySize), "half zeros": append(torn[:40:40], make([]byte, 32)...), "junk": make([]byte, 2*EntrySize+5),
	} {
		dir := t.TempDir()
		b := append(Append(nil, NewEntry(all[0], 10)), end...)
		if err := os.WriteFile(filepath.Join(dir, JournalName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		openJournal(t, dir, durable.Disk{})
		s := New(Options{Dir: dir})
		load(t, s)
		if n := s.Snapshot().Stats().IDs; n != 1 {
			t.Errorf("%s: %d ids", name, n)
		}
		equal(t, since(s, all), 10, -1)
	}
}

// With a fault at any step: an append that returned nil is there after a kill
// at any later moment, and the journal works again once the fault is over.
func TestJournalFaults(t *testing.T) {
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.SyncDir, durable.Rename, durable.Remove} {
		for _, stored := range []bool{false, true} {
			for nth := 1; nth <= 3; nth++ {
				name := fmt.Sprintf("%s/stored=%t/%d", step, stored, nth)
				dir := t.TempDir()
				disk, broken := failAt(step, nth, stored)
				j := openJournal(t, dir, disk)
				all := ids(32, 4)
				var kept []schemas.ID
				for i, id := range all {
					err := j.Append(NewEntry(id, 10))
					if err == nil {
						kept = append(kept, id)
					} else if !errors.Is(err, broken) {
						t.Fatalf("%s: %v", name, err)
					}
					if i%2 == 1 {
						if _, err := j.Rotate(); err != nil && !errors.Is(err, broken) {
							t.Fatalf("%s: %v", name, err)
						}
					}
					s := killed(t, dir)
					if got := s.Snapshot().AppendOptedOut(nil, kept); len(got) != len(kept) {
						t.Fatalf("%s: %d of %d opt-outs after item %d", name, len(got), len(kept), i)
					}
				}
				if len(kept) < len(all)-1 {
					t.Errorf("%s: only %d of %d accepted", name, len(kept), len(all))
				}
			}
		}
	}
}

// Appends that arrive while one is written share the next write and sync.
func TestJournalGroupsAppends(t *testing.T) {
	dir := t.TempDir()
	writing, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	writes := 0
	j := openJournal(t, dir, durable.Disk{Fault: func(at durable.Step, _ string) (bool, error) {
		if at == durable.Write {
			writes++
			once.Do(func() {
				close(writing)
				<-proceed
			})
		}
		return false, nil
	}})
	all := ids(33, 50)
	var senders sync.WaitGroup
	senders.Go(func() {
		if err := j.Append(NewEntry(all[0], 1)); err != nil {
			t.Error(err)
		}
	})
	<-writing
	for _, id := range all[1:] {
		senders.Go(func() {
			if err := j.Append(NewEntry(id, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	waiting := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.next == nil {
			return 0
		}
		return len(j.next.entries)
	}
	for waiting() < len(all)-1 {
		runtime.Gosched()
	}
	close(proceed)
	senders.Wait()
	if writes != 2 || j.Held() != len(all) {
		t.Errorf("%d writes for %d entries", writes, j.Held())
	}
}

func BenchmarkJournal(b *testing.B) {
	j := openJournal(b, b.TempDir(), durable.Disk{})
	e := NewEntry(randomID(chacha(1)), 5)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := j.Append(e); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
