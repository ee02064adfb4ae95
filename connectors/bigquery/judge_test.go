package bigquery

import (
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

// staged is a distinct cell, with the flags of its rows (0: none).
type staged struct {
	id    string // empty: NULL
	flags []int64
}

func drawStaged(t *rapid.T) []staged {
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"}), 0, 6, rapid.ID).Draw(t, "ids")
	cells := make([]staged, len(ids))
	for i, id := range ids {
		cells[i] = staged{id, rapid.SliceOfN(rapid.SampledFrom([]int64{0, 999, 1000, 1001, 2000, 3000}), 1, 5).Draw(t, "flags")}
	}
	return cells
}

// summary is what staging says of a cell.
func (s staged) summary() (n, flagged, low, high int64) {
	n = int64(len(s.flags))
	for _, f := range s.flags {
		if f == 0 {
			continue
		}
		if flagged++; flagged == 1 {
			low, high = f, f
		}
		low, high = min(low, f), max(high, f)
	}
	return n, flagged, low, high
}

// The counts of a receipt are those of rows that are changed one by one, and
// no flag moves to a later time.
func TestJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		optedOut := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.Int64Range(1, 3)).Draw(t, "opted out")
		cleared := ""
		if rapid.Bool().Draw(t, "clear") {
			cleared = "e"
		}
		r := rule{since: since(optedOut), clear: func(cell []byte) bool { return string(cell) == cleared }}
		var got, want schemas.Receipt
		var moved int64
		anyUnclear := false
		for _, c := range drawStaged(t) {
			var cell []byte
			if c.id != "" {
				cell = []byte(c.id)
			}
			n, flagged, low, high := c.summary()
			sinceUS, change, unclear := r.judge(&got, cell, n, flagged, low, high)
			anyUnclear = anyUnclear || unclear
			ms, out := optedOut[c.id]
			out = out && c.id != ""
			changed, stay := false, false
			for _, flag := range c.flags {
				want.Rows++
				switch {
				case c.id == "":
					want.Nulls++
				case out:
					want.OptedOut++
				}
				switch {
				case !out && flag != 0 && c.id != "" && c.id == cleared:
					want.Cleared++
					changed = true
				case !out && flag != 0:
					want.Kept++
				case out && flag == 0:
					want.NewlyFlagged++
					changed = true
				case out && flag > ms*1000:
					moved++
					changed = true
				case out:
					stay = true
				}
			}
			if change != changed {
				t.Fatalf("%+v since %d: change %t, want %t", c, ms, change, changed)
			}
			if out && change && sinceUS != ms*1000 {
				t.Fatalf("%+v: flag %d, want %d", c, sinceUS, ms*1000)
			}
			if out && change && flagged > 0 && high > sinceUS && low <= sinceUS != unclear || unclear && !stay {
				t.Fatalf("%+v since %d: unclear %t", c, ms, unclear)
			}
		}
		// Where the rows of an id differ, it is not known how many of them move.
		if got.MovedEarlier < moved || !anyUnclear && got.MovedEarlier != moved {
			t.Fatalf("moved %d, want %d (unclear: %t)", got.MovedEarlier, moved, anyUnclear)
		}
		if got.NewlyFlagged+got.MovedEarlier > got.OptedOut {
			t.Fatalf("%+v", got)
		}
		want.MovedEarlier = got.MovedEarlier
		if got != want {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}
