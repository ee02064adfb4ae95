package optoutlog

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"optsweep/schemas"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ids(seed uint64, n int) []schemas.ID {
	r := chacha(seed)
	all := make([]schemas.ID, n)
	for i := range all {
		all[i] = randomID(r)
	}
	return all
}

func entries(all []schemas.ID, second int64) (es []Entry) {
	for _, id := range all {
		es = append(es, NewEntry(id, second))
	}
	return es
}

func writeDelta(t testing.TB, dir string, es []Entry) string {
	t.Helper()
	path, err := Write(WriterOptions{Dir: dir, Replica: 1, Start: t0, End: t0.Add(5 * time.Minute)}, es)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// since gives the seconds of all, -1 for none.
func since(s *Store, all []schemas.ID) (seconds []int64) {
	for _, id := range all {
		ms, ok := s.Snapshot().Since(id)
		if !ok {
			ms = -1000
		}
		seconds = append(seconds, ms/1000)
	}
	return seconds
}

func equal(t testing.TB, got []int64, want ...int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d values, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestStoreReadsVectorFile(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "delta", "2025-12-01")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	name := "optout-delta-000_2025-12-01T00.00.00Z_418810dc.dat"
	if err := os.WriteFile(filepath.Join(deep, name), vectorDelta(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: dir, Now: func() time.Time { return t0 }})
	if ready, _ := s.Health(); ready || s.Snapshot() != nil {
		t.Fatal("ready before the first load")
	}
	load(t, s)
	zeros, ones := schemas.ID{0: 0x10}, schemas.ID{0: 0x10}
	copy(ones[1:], bytes.Repeat([]byte{0xFF}, 32))
	v2zeros, v2ones := zeros, ones
	v2zeros[0], v2ones[0] = v2, v2
	v2id := schemas.ID{0: v2}
	copy(v2id[1:], bytes.Repeat([]byte{0x33}, 32))
	equal(t, since(s, []schemas.ID{textID(t, euidV3), v2id, zeros, ones, v2zeros, v2ones}),
		1764547200, 1764547260, -1, -1, -1, -1)
	if st := s.Snapshot().Stats(); st.IDs != 2 || st.Files != 1 || !st.AsOf.Equal(t0) {
		t.Errorf("stats %+v", st)
	}
}

func TestEarliestTimeOverFiles(t *testing.T) {
	dir := t.TempDir()
	all := ids(1, 3)
	writeDelta(t, dir, append(entries(all, 3000), entries(all[:1], 2000)...))
	writeDelta(t, dir, append(entries(all[1:2], 1000), entries(all[2:], 4000)...))
	s := New(Options{Dir: dir})
	load(t, s)
	equal(t, since(s, all), 2000, 1000, 3000)
}

func TestHotReload(t *testing.T) {
	dir := t.TempDir()
	all := ids(2, 4)
	first := writeDelta(t, dir, entries(all[:1], 10))
	s := New(Options{Dir: dir})
	load(t, s)
	before := s.Snapshot()
	writeDelta(t, dir, entries(all[1:2], 20))
	load(t, s)
	equal(t, since(s, all), 10, 20, -1, -1)
	if _, ok := before.Since(all[1]); ok {
		t.Error("an old snapshot changed")
	}

	// A file that goes away takes its opt-outs with it; what was added stays.
	s.Add(NewEntry(all[2], 30))
	equal(t, since(s, all), 10, 20, 30, -1)
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	load(t, s)
	equal(t, since(s, all), -1, 20, 30, -1)

	// Settled entries live in their file only.
	settled := writeDelta(t, dir, entries(all[2:3], 30))
	if err := s.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	equal(t, since(s, all), -1, 20, 30, -1)
	if err := os.Remove(settled); err != nil {
		t.Fatal(err)
	}
	load(t, s)
	equal(t, since(s, all), -1, 20, -1, -1)

	// A file that changes is read again.
	again := writeDelta(t, dir, entries(all[3:], 40))
	load(t, s)
	b, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	b[EntrySize+timeAt] = 41
	if err := os.WriteFile(again, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(again, t0, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	load(t, s)
	equal(t, since(s, all), -1, 20, -1, 41)
}

// Only new files are read: an old one whose content is damaged behind an
// unchanged size and time does not matter.
func TestLoadReadsOnlyWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	all := ids(3, 2)
	path := writeDelta(t, dir, entries(all[:1], 10))
	if err := os.Chtimes(path, t0, t0); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: dir})
	load(t, s)
	b, _ := os.ReadFile(path)
	clear(b[EntrySize : 2*EntrySize])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, t0, t0); err != nil {
		t.Fatal(err)
	}
	writeDelta(t, dir, entries(all[1:], 20))
	load(t, s)
	equal(t, since(s, all), 10, 20)
}

// Whatever is wrong with a file, the snapshot stays and the store says why,
// until the file is whole again.
func TestBadFileKeepsTheSnapshot(t *testing.T) {
	all := ids(4, 2)
	whole := func() []byte {
		b := appendSentinel(nil, 0, 1)
		return appendSentinel(Append(b, NewEntry(all[1], 20)), 0xFF, 2)
	}
	damage := map[string]struct {
		bytes []byte
		want  string
	}{
		"half an entry":      {whole()[:EntrySize+30], "not whole entries"},
		"no closing entry":   {whole()[:2*EntrySize], "no closing entry"},
		"one byte more":      {append(whole(), 0), "not whole entries"},
		"an impossible time": {Append(nil, Entry{ID: all[1]}), "impossible"},
	}
	for name, tc := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeDelta(t, dir, entries(all[:1], 10))
			s := New(Options{Dir: dir})
			load(t, s)
			path := filepath.Join(dir, newName(2, t0).String())
			if err := os.WriteFile(path, tc.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Load(context.Background()); err == nil || !strings.Contains(err.Error(), tc.want) || schemas.HintOf(err) == "" {
				t.Errorf("error %v, want %q and a hint", err, tc.want)
			}
			ready, degraded := s.Health()
			if !ready || degraded == nil || !strings.Contains(degraded.Error(), tc.want) {
				t.Errorf("ready %t, degraded %v", ready, degraded)
			}
			equal(t, since(s, all), 10, -1)

			if err := os.WriteFile(path, whole(), 0o600); err != nil {
				t.Fatal(err)
			}
			load(t, s)
			if _, degraded := s.Health(); degraded != nil {
				t.Errorf("still degraded: %v", degraded)
			}
			equal(t, since(s, all), 10, 20)
		})
	}
}

func TestNothingToServe(t *testing.T) {
	dir := t.TempDir()
	for name, prepare := range map[string]func() string{
		"no folder":        func() string { return filepath.Join(dir, "none") },
		"a file":           func() string { return writeDelta(t, t.TempDir(), entries(ids(5, 1), 1)) },
		"an empty folder":  func() string { return t.TempDir() },
		"only other files": func() string { return emptyFile(t, "optout-delta-000.dat") },
		"only empty files": func() string { return emptyFile(t, newName(0, t0).String()) },
	} {
		s := New(Options{Dir: prepare()})
		err := s.Load(context.Background())
		if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if ready, _ := s.Health(); ready {
			t.Errorf("%s: ready", name)
		}
	}
	s := New(Options{Dir: emptyFile(t, newName(0, t0).String()), AllowEmpty: true})
	load(t, s)
	if st := s.Snapshot().Stats(); st.EmptyFiles != 1 || st.IDs != 0 {
		t.Errorf("%+v", st)
	}
	equal(t, since(s, ids(5, 1)), -1)
	if err := New(Options{Dir: filepath.Join(dir, "none"), AllowEmpty: true}).Load(context.Background()); err == nil {
		t.Error("a folder that does not exist is accepted")
	}
}

func emptyFile(t *testing.T, name string) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// All files gone at once is a lost mount, not a world without opt-outs.
func TestVanishedLogKeepsTheSnapshot(t *testing.T) {
	dir := t.TempDir()
	all := ids(6, 1)
	path := writeDelta(t, dir, entries(all, 10))
	s := New(Options{Dir: dir})
	load(t, s)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background()); err == nil {
		t.Error("no error")
	}
	equal(t, since(s, all), 10)
}

// A zero-length file that is filled later counts as new; hidden folders,
// leftovers of writers and names of other files are passed over; links to
// files are followed.
func TestScan(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	all := ids(7, 4)
	target := writeDelta(t, other, entries(all[:1], 10))
	if err := os.Symlink(target, filepath.Join(dir, filepath.Base(target))); err != nil {
		t.Fatal(err)
	}
	hidden := filepath.Join(dir, ".snapshot")
	if err := os.Mkdir(hidden, 0o700); err != nil {
		t.Fatal(err)
	}
	writeDelta(t, hidden, entries(all[1:2], 20))
	late := filepath.Join(dir, newName(3, t0).String())
	for _, path := range []string{late, filepath.Join(dir, "notes.dat"), filepath.Join(dir, "."+newName(4, t0).String()+".x.optsweep-tmp")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: link})
	load(t, s)
	equal(t, since(s, all), 10, -1, -1, -1)
	if err := os.WriteFile(late, Append(nil, NewEntry(all[2], 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, s)
	equal(t, since(s, all), 10, -1, 30, -1)
}

func TestLoadStopsWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	writeDelta(t, dir, entries(ids(8, 1), 10))
	s := New(Options{Dir: dir})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, degraded := s.Health(); degraded != nil {
		t.Errorf("a cancelled load degrades: %v", degraded)
	}
}

// Answers stay right, and ids once seen stay, while files and single entries
// come in from other goroutines.
func TestAnswersDuringReloads(t *testing.T) {
	dir := t.TempDir()
	all := ids(9, 4000)
	writeDelta(t, dir, entries(all[:1000], 10))
	s := New(Options{Dir: dir})
	load(t, s)
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for i := 1000; i < 2000; i += 100 {
			writeDelta(t, dir, entries(all[i:i+100], 20))
			if err := s.Load(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Go(func() {
		for i := 2000; i < 3000; i++ {
			s.Add(NewEntry(all[i], 30))
		}
	})
	for range 2 {
		readers.Go(func() {
			seen := 0
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				got := s.Snapshot().AppendOptedOut(nil, all)
				if len(got) < seen || len(got) < 1000 || len(got) > 3000 {
					t.Errorf("%d opt-outs after %d", len(got), seen)
					return
				}
				seen = len(got)
			}
			if seen != 3000 {
				t.Errorf("%d opt-outs in the end", seen)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

// A file larger than a segment, read by several workers.
func TestManySegments(t *testing.T) {
	dir := t.TempDir()
	all := ids(10, 3*segment/EntrySize+7)
	writeDelta(t, dir, entries(all, 50))
	s := New(Options{Dir: dir, Workers: 3})
	load(t, s)
	if got := s.Snapshot().AppendOptedOut(nil, all); len(got) != len(all) || s.Snapshot().Stats().IDs != len(all) {
		t.Errorf("%d of %d ids found", len(got), len(all))
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	const n = 2_000_000
	writeDelta(b, dir, entries(ids(11, n), 1_764_547_200))
	start := cpuSeconds(b)
	for b.Loop() {
		load(b, New(Options{Dir: dir}))
	}
	b.ReportMetric(float64(b.N)*n/1e6/(cpuSeconds(b)-start), "Mentries/cpu-s")
}

// One opt-out into a snapshot of a million: only one shard is built anew.
func BenchmarkAdd(b *testing.B) {
	dir := b.TempDir()
	writeDelta(b, dir, entries(ids(12, 1_000_000), 1_764_547_200))
	s := New(Options{Dir: dir})
	load(b, s)
	r := chacha(13)
	for b.Loop() {
		s.Add(NewEntry(randomID(r), 5))
	}
}
