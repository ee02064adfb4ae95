package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"optsweep/connectors/operator"
	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

var soak = flag.Duration("soak", 3*time.Second, "how long the soak test asks")

// soakID is the n-th of an endless, fixed series of raw EUIDs.
func soakID(n uint64) schemas.ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	id, err := schemas.FromRaw(append([]byte{0x10}, sum[:]...))
	if err != nil {
		panic(err)
	}
	return id
}

func soakSecond(n uint64) int64 { return 1_700_000_000 + int64(n%1_000_000) }

// Clients ask without a pause while the log grows and is loaded again and
// again. No answer may be wrong: an id is opted out, with its time, from the
// moment the load that brought it is over, and an id that is in no file never
// is. Memory must follow the number of ids only.
//
// The series: even numbers are in the log or will be, odd ones never are.
func TestSoak(t *testing.T) {
	const base, perFile, batch = 100_000, 500, 5000
	dir := t.TempDir()
	var written atomic.Uint64 // even numbers below 2*written are loaded
	next := uint64(0)
	write := func(count uint64) {
		entries := make([]optoutlog.Entry, 0, count)
		for range count {
			entries = append(entries, optoutlog.NewEntry(soakID(2*next), soakSecond(2*next)))
			next++
		}
		now := time.Now()
		if _, err := optoutlog.Write(optoutlog.WriterOptions{Dir: dir, Start: now, End: now.Add(time.Minute)}, entries); err != nil {
			t.Error(err)
		}
	}
	write(base)

	store := optoutlog.New(optoutlog.Options{Dir: dir})
	if err := store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	written.Store(next)
	key, secret, record, err := NewKey(KeyOptions{Scope: schemas.EUID, Environment: schemas.Production, SiteID: 1, Name: "soak"})
	if err != nil {
		t.Fatal(err)
	}
	clients := filepath.Join(t.TempDir(), "clients.json")
	if err := AddClient(durable.Disk{}, clients, record); err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(Options{Store: store, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving, stopServing := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, l) }()

	client, err := operator.New(operator.Options{
		Kind: operator.Private, Parallel: 2, URL: "http://" + l.Addr().String(), Scope: schemas.EUID, Environment: schemas.Production,
		Credentials: func(context.Context) (operator.Credentials, error) {
			return operator.Credentials{APIKey: key, ClientSecret: secret}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	ctx, stop := context.WithTimeout(t.Context(), *soak)
	defer stop()
	var work sync.WaitGroup
	var asked, wrong, reloads atomic.Int64
	work.Go(func() { // the log grows
		for ctx.Err() == nil {
			write(perFile)
			if err := store.Load(context.Background()); err != nil {
				t.Error(err)
				return
			}
			written.Store(next)
			reloads.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	for worker := range uint64(2) {
		work.Go(func() {
			for round := uint64(0); ctx.Err() == nil; round++ {
				loaded := written.Load()
				ids := make([]schemas.ID, batch)
				number := map[schemas.ID]uint64{}
				for i := range ids {
					// Recent even numbers and, all over the series, odd ones.
					n := 2 * ((round*2+worker)*7919 + uint64(i)) % (2 * loaded)
					if i%16 != 0 {
						n = n + 2*uint64(i) + 1
					}
					ids[i] = soakID(n)
					number[ids[i]] = n
				}
				answer, err := client.Check(context.WithoutCancel(ctx), ids)
				if err != nil {
					t.Error(err)
					return
				}
				found := map[schemas.ID]int64{}
				for _, o := range answer.OptedOut {
					found[o.ID] = o.SinceMS
				}
				for id, n := range number {
					since, ok := found[id]
					if want := n%2 == 0; want != ok || ok && since != soakSecond(n)*1000 {
						wrong.Add(1)
					}
				}
				asked.Add(int64(len(ids)))
			}
		})
	}
	var heaps []float64 // bytes per id in the log, after a collection
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(max(*soak/20, 100*time.Millisecond)):
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heaps = append(heaps, float64(m.HeapAlloc)/(1<<20))
	}
	work.Wait()
	stopServing()
	if err := <-served; err != nil {
		t.Error(err)
	}
	t.Logf("%d ids asked, %d wrong answers, %d reloads, %d ids in the log, heap %.1f MiB at first, %.1f MiB at last",
		asked.Load(), wrong.Load(), reloads.Load(), written.Load(), heaps[0], heaps[len(heaps)-1])
	if asked.Load() == 0 || reloads.Load() == 0 {
		t.Error("nothing was asked or loaded")
	}
	if wrong.Load() > 0 {
		t.Errorf("%d wrong answers", wrong.Load())
	}
	// The log's ids take some 43 bytes each, and twice that while they are
	// rebuilt; the rest of the heap must not grow.
	grown := float64(next-base) * 100 / (1 << 20)
	if last := heaps[len(heaps)-1]; last > heaps[0]+grown+24 {
		t.Errorf("the heap grew from %.1f to %.1f MiB", heaps[0], last)
	}
}
