package sweep

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas/durable"
)

// Whatever is imported and removed, and whatever the operator says and when it
// fails: the flags of a finished run are those of the union, at the earliest
// time, or earlier ones from before; and its figures add up.
func TestFlagsAreThoseOfTheUnionOfAllLists(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		b.job.Limits.AllowZeroHits = true
		best := map[int]int64{} // what a finished run must have flagged
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 2).Draw(rt, "imports") {
				ids := own{}
				for _, n := range rapid.SliceOfN(rapid.IntRange(0, 70), 0, 10).Draw(rt, "ids") {
					ids[n] = rapid.Int64Range(early, late).Draw(rt, "since")
				}
				b.importOwn(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "source"), ids)
			}
			if len(b.own) > 0 && rapid.IntRange(0, 5).Draw(rt, "removal") == 0 {
				b.removeOwn(slices.Sorted(maps.Keys(b.own))[0])
			}
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 70), 0, 5).Draw(rt, "listed") {
				if _, listed := b.operator.optedOut[testID(n)]; !listed {
					b.operator.optedOut[testID(n)] = rapid.Int64Range(early, late).Draw(rt, "operator's")
				}
			}
			if at := rapid.IntRange(0, 60).Draw(rt, "failing step"); at > 0 {
				n := 0
				b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
					if n++; n > at {
						return false, errors.New("dead")
					}
					return false, nil
				})}
				_, _ = b.run(context.Background())
				b.disk = durable.Disk{}
			}
			rep, err := b.run(context.Background())
			if err != nil {
				rt.Fatal(err)
			}
			for n := range 70 {
				for _, ms := range b.listedAt(n) {
					if was, ok := best[n]; !ok || ms < was {
						best[n] = ms
					}
				}
			}
			for _, u := range b.table.units {
				for i, cell := range u.cells {
					for n := range 60 {
						if !bytes.Equal(bytes.TrimSpace(cell), testCell(n)) {
							continue
						}
						if u.since[i] != best[n] {
							rt.Fatalf("unit %s row %d, id %d: flag %d, want %d", u.name, i, n, u.since[i], best[n])
						}
					}
				}
			}
			if (rep.Sources != nil) != (len(b.own) > 0) {
				rt.Fatalf("%d lists, %+v", len(b.own), rep.Sources)
			}
		}
	})
}

// listedAt are the times at which lists in force have the n-th id.
func (b *bench) listedAt(n int) (times []int64) {
	if ms, ok := b.operator.optedOut[testID(n)]; ok {
		times = append(times, ms)
	}
	for _, l := range b.own {
		if ms, ok := l[n]; ok {
			times = append(times, ms)
		}
	}
	return times
}
