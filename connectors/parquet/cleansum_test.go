package parquet

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"pgregory.net/rapid"
)

// A sum tells apart what differs in values, their sizes, or levels alone.
func TestSumsTellColumnsApart(t *testing.T) {
	text := func(values ...string) func(*columnSum) {
		return func(s *columnSum) {
			var all []parquet.ByteArray
			for _, v := range values {
				all = append(all, parquet.ByteArray(v))
			}
			addSized(s, all)
		}
	}
	levels := func(def, rep []int16) func(*columnSum) {
		return func(s *columnSum) { s.addLevels(def, rep); text("a", "b")(s) }
	}
	seen := map[string]string{}
	for name, add := range map[string]func(*columnSum){
		"nothing":             func(*columnSum) {},
		"texts":               text("ab", "c"),
		"other sizes":         text("a", "bc"),
		"an empty one":        text("ab", "c", ""),
		"another order":       text("c", "ab"),
		"NULL first":          levels([]int16{0, 1, 1}, nil),
		"NULL last":           levels([]int16{1, 1, 0}, nil),
		"one row":             levels([]int16{1, 1, 0}, []int16{0, 1, 1}),
		"two rows":            levels([]int16{1, 1, 0}, []int16{0, 0, 1}),
		"levels of each kind": levels([]int16{0, 1, 1}, []int16{1, 1, 0}),
		"true":                func(s *columnSum) { addBooleans(s, []bool{true, false}) },
		"false":               func(s *columnSum) { addBooleans(s, []bool{false, false}) },
		"numbers":             func(s *columnSum) { addFixed(arrow.Int32Traits.CastToBytes)(s, []int32{1, 2}) },
		"other numbers":       func(s *columnSum) { addFixed(arrow.Int32Traits.CastToBytes)(s, []int32{2, 1}) },
	} {
		all := newSums(1)
		add(all[0])
		digest := all.digests()[0]
		if other, twice := seen[digest]; twice {
			t.Errorf("%s has the sum of %s", name, other)
		}
		seen[digest] = name
	}
}

// A sum is the same however its column comes in pages.
func TestSumsDoNotDependOnPages(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var values []parquet.ByteArray
		for range rapid.IntRange(0, 40).Draw(r, "values") {
			size := rapid.SampledFrom([]int{0, 1, 44, sumStep - 5, sumStep - 4, sumStep - 3, sumStep, 3 * sumStep}).Draw(r, "size")
			values = append(values, slices.Repeat(parquet.ByteArray{'x'}, size))
		}
		whole, pages := newSums(1), newSums(1)
		addSized(whole[0], values)
		flags := make([]bool, len(values)*100)
		addBooleans(whole[0], flags)
		for rest := values; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "page")
			addSized(pages[0], rest[:n])
			rest = rest[n:]
		}
		for rest := flags; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "page")
			addBooleans(pages[0], rest[:n])
			rest = rest[n:]
		}
		if whole.digests()[0] != pages.digests()[0] {
			r.Fatal("another sum")
		}
	})
}
