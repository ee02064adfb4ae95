package schemas

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestWaitBoundsAreInOrder(t *testing.T) {
	bounds := WaitBounds()
	if !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) != len(bounds) {
		t.Error(bounds)
	}
}

// Whatever the waits are: the bars add up, parts merge to the whole, and no
// quantile or count flatters.
func TestWaitsNeverFlatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var whole, a, b Waits
		var seconds []int64
		for range r.IntN(50) {
			ms := int64(r.ExpFloat64() * 86_400_000 * float64(r.IntN(30)))
			seconds = append(seconds, (ms+999)/1000)
			whole.Add(ms)
			if r.IntN(2) == 0 {
				a.Add(ms)
			} else {
				b.Add(ms)
			}
		}
		a.Merge(b)
		if !reflect.DeepEqual(a, whole) {
			t.Fatalf("parts %+v\nwhole %+v", a, whole)
		}
		bars := int64(0)
		for _, bar := range whole.Le {
			bars += bar.IDs
		}
		slices.Sort(seconds)
		if whole.IDs != int64(len(seconds)) || bars != whole.IDs {
			t.Fatalf("%d waits, counted %+v", len(seconds), whole)
		}
		if len(seconds) == 0 {
			continue
		}
		if whole.MaxS != seconds[len(seconds)-1] || whole.Quantile(1) != whole.MaxS {
			t.Fatalf("longest %d, %+v", seconds[len(seconds)-1], whole)
		}
		for _, q := range []float64{0.5, 0.95} {
			got, within := whole.Quantile(q), 0
			for _, s := range seconds {
				if s <= got {
					within++
				}
			}
			if float64(within) < q*float64(len(seconds)) {
				t.Fatalf("quantile %v is %d: only %d of %v are within", q, got, within, seconds)
			}
		}
		for _, slo := range []int64{3600, 86400, 100_000, 1} {
			over, exact := whole.Over(slo)
			want := int64(0)
			for _, s := range seconds {
				if s > slo {
					want++
				}
			}
			if over < want || exact && over != want {
				t.Fatalf("over %d: got %d (exact: %v), want %d of %v", slo, over, exact, want, seconds)
			}
		}
	}
}

func TestWaitsAtTheEdges(t *testing.T) {
	var w Waits
	for _, ms := range []int64{-5, 0, 1, 60_000, 60_001, 1 << 60} {
		w.Add(ms)
	}
	want := []Wait{{60, 4}, {120, 1}, {WaitBounds()[len(WaitBounds())-1], 1}}
	if !slices.Equal(w.Le, want) {
		t.Errorf("%+v, want %+v", w.Le, want)
	}
	if none := (Waits{}); none.Quantile(0.5) != 0 {
		t.Error("a quantile of nobody")
	}
}
