package schemas

import (
	"cmp"
	"slices"
	"time"
)

// EventTableHonoured says how long people waited whose flags a run was the
// first to write into a table. There is one for each table that was read, once
// all flags are written; runs of versions before there was this event, and dry
// runs, have none.
const EventTableHonoured EventType = "table_honoured"

// TableHonoured counts distinct ids of one table. An id waits from its opt-out,
// or from when it can first have come into the table if that is later: the start
// of the last run that read all of the table and did not see it. So no wait is
// told shorter than it was. It waits until the last flag of the table was
// written. An id in a unit that an earlier run could not treat counts again once
// that is mended.
type TableHonoured struct {
	Table   string    `json:"table"`
	Flagged time.Time `json:"flagged_at"`       // when all flags of the table were written
	Before  string    `json:"before,omitempty"` // the run that last wrote the table's flags before; empty: none is known, all flags count
	Total   Waits     `json:"total"`            // = Detect + Apply, id by id
	Detect  Waits     `json:"detect"`           // until an operator's answer or an own list told of the opt-out
	Apply   Waits     `json:"apply"`            // from then on
	Arrived int64     `json:"arrived"`          // of Total: came into the table after the opt-out
	Backlog Waits     `json:"backlog"`          // beside Total: opted out before the table was first read, nobody knows since when it holds the id; from the opt-out, which is the most it can be
	Open    Waits     `json:"open"`             // beside both: known, and not flagged in all units; up to Flagged
	Unseen  bool      `json:"unseen,omitempty"` // the ids that the run before saw are gone: ids known for long that came since cannot be told and are not counted
}

// Waits sums up waiting times, in whole seconds, rounded up.
type Waits struct {
	IDs  int64  `json:"ids"`
	MaxS int64  `json:"max_s"`
	Le   []Wait `json:"le,omitempty"` // by bound, those that are not empty
}

// Wait is a bar of a histogram: ids that waited at most LeS seconds, and longer
// than the next smaller of WaitBounds.
type Wait struct {
	LeS int64 `json:"le_s"`
	IDs int64 `json:"ids"`
}

// WaitBounds are the bounds of histograms of waiting times, in seconds. Bounds
// are only ever added.
func WaitBounds() []int64 {
	b := waitBounds()
	return b[:]
}

// waitBounds needs no memory but the caller's.
func waitBounds() [58]int64 {
	const m, h, d = 60, 3600, 86400
	return [...]int64{
		m, 2 * m, 5 * m, 10 * m, 15 * m, 20 * m, 30 * m, 45 * m,
		h, 90 * m, 2 * h, 3 * h, 4 * h, 5 * h, 6 * h, 8 * h, 10 * h, 12 * h, 14 * h, 16 * h, 18 * h, 20 * h, 22 * h,
		d, 25 * h, 26 * h, 28 * h, 30 * h, 36 * h, 42 * h, 2 * d, 60 * h, 3 * d, 4 * d, 5 * d, 6 * d, 7 * d, 8 * d, 10 * d, 12 * d, 14 * d,
		17 * d, 21 * d, 25 * d, 28 * d, 30 * d, 35 * d, 45 * d, 60 * d, 90 * d, 120 * d, 180 * d, 270 * d, 365 * d, 730 * d, 1825 * d, 3650 * d, 73000 * d,
	}
}

// Add counts one id that waited for ms milliseconds; less than none is none.
func (w *Waits) Add(ms int64) {
	seconds := (max(0, ms) + 999) / 1000
	bounds := waitBounds()
	i, _ := slices.BinarySearch(bounds[:], seconds)
	w.IDs++
	w.MaxS = max(w.MaxS, seconds)
	w.count(Wait{LeS: bounds[min(i, len(bounds)-1)], IDs: 1})
}

// count adds to a bar.
func (w *Waits) count(bar Wait) {
	i, ok := slices.BinarySearchFunc(w.Le, bar.LeS, func(b Wait, le int64) int { return cmp.Compare(b.LeS, le) })
	if !ok {
		w.Le = slices.Insert(slices.Clip(w.Le), i, Wait{LeS: bar.LeS})
	}
	w.Le[i].IDs += bar.IDs
}

// Merge adds what other counts.
func (w *Waits) Merge(other Waits) {
	w.IDs += other.IDs
	w.MaxS = max(w.MaxS, other.MaxS)
	for _, bar := range other.Le {
		w.count(bar)
	}
}

// Quantile is a wait in seconds that at least a share q of the ids did not
// exceed: the bound of the bar, or the longest wait if that is less. 0 if there
// are no ids.
func (w Waits) Quantile(q float64) int64 {
	sum := int64(0)
	for _, bar := range w.Le {
		if sum += bar.IDs; float64(sum) >= q*float64(w.IDs) {
			return min(bar.LeS, w.MaxS)
		}
	}
	return w.MaxS
}

// Over counts the ids that waited longer than so many seconds. exact is false
// if some of them, in the bar around it, may have waited less.
func (w Waits) Over(seconds int64) (ids int64, exact bool) {
	if w.MaxS <= seconds {
		return 0, true
	}
	for _, bar := range w.Le {
		if bar.LeS > seconds {
			ids += bar.IDs
		}
	}
	_, exact = slices.BinarySearch(WaitBounds(), seconds)
	return ids, exact
}
