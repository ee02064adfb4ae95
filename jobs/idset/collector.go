package idset

import (
	"encoding/binary"
	"maps"
	"sync"

	"optsweep/schemas"
)

// Counts say what the cells of a unit are. Rows = Nulls + Valid + the sum of
// Malformed.
type Counts struct {
	Rows      int64                    `json:"rows"`
	Nulls     int64                    `json:"nulls"`
	Valid     int64                    `json:"valid"`
	Repaired  int64                    `json:"repaired"` // of Valid: white space around the id was ignored
	Malformed map[schemas.Reason]int64 `json:"malformed"`
}

// Add adds the counts of another unit.
func (c *Counts) Add(other Counts) {
	c.Rows += other.Rows
	c.Nulls += other.Nulls
	c.Valid += other.Valid
	c.Repaired += other.Repaired
	for reason, n := range other.Malformed {
		c.malformed(reason, n)
	}
}

func (c *Counts) malformed(reason schemas.Reason, n int64) {
	if c.Malformed == nil {
		c.Malformed = make(map[schemas.Reason]int64)
	}
	c.Malformed[reason] += n
}

// Check tells whether every row is accounted for.
func (c *Counts) Check() error {
	sum := c.Nulls + c.Valid
	for _, n := range c.Malformed {
		sum += n
	}
	if sum != c.Rows || c.Repaired > c.Valid {
		return schemas.Errorf(schemas.Integrity, "%d rows were read but %d are accounted for", c.Rows, sum)
	}
	return nil
}

// BadCell is told of a cell, or of n cells that are alike, without a valid id.
// row is schemas.NoRow where cells have no place. The cell is valid until it
// returns.
type BadCell func(row, n int64, reason schemas.Reason, cell []byte) error

// Collector validates the cells of one unit, counts them and hands the valid
// ids to a Builder.
type Collector struct {
	rules schemas.Rules
	to    *Builder
	onBad BadCell
	stage sync.Pool // of *stage

	mu     sync.Mutex
	counts Counts
	rows   *RowWriter // nil: not wanted
}

// stage is room for what one Add works on.
type stage struct {
	batch  batch
	ids    [stageSize]schemas.ID
	n      int    // of ids that are not handed over yet
	keys   []byte // of all cells, for a RowWriter
	counts Counts
}

// stageSize is the number of ids that are handed over at a time.
const stageSize = 8 * batchCells

// NewCollector makes a Collector. onBad (may be nil) is called for each cell
// that is neither NULL nor a valid id, one call at a time.
func NewCollector(rules schemas.Rules, to *Builder, onBad BadCell) *Collector {
	return &Collector{
		rules: rules,
		to:    to,
		onBad: onBad,
		stage: sync.Pool{New: func() any { return new(stage) }},
	}
}

// KeepRows makes the Collector hand to w which row holds which id. It is called
// before the first Add; Publish and Discard are up to the caller.
func (c *Collector) KeepRows(w *RowWriter) { c.rows = w }

// Add takes in cells. It may be called from several goroutines, say one per
// row group; the counts and the set do not depend on the order.
func (c *Collector) Add(cells schemas.Cells) error { return c.add(cells, c.bad) }

func (c *Collector) add(cells schemas.Cells, onBad BadCell) error {
	s := c.stage.Get().(*stage)
	defer c.stage.Put(s)
	s.n, s.keys, s.counts = 0, s.keys[:0], Counts{Rows: cells.Rows()}
	for first := 0; first < len(cells.Values); first += batchCells {
		if s.n > stageSize-batchCells {
			if err := c.handOver(s); err != nil {
				return err
			}
		}
		end := min(first+batchCells, len(cells.Values))
		if n, ok := s.batch.parse(c.rules, cells.Values[first:end], s.ids[s.n:]); ok {
			c.addGood(s, cells, first, end, n)
		} else if err := c.addEach(s, cells, first, end, onBad); err != nil {
			return err
		}
	}
	if err := c.handOver(s); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Add(s.counts)
	if c.rows == nil {
		return nil
	}
	return c.rows.add(cells, s.keys)
}

func (c *Collector) handOver(s *stage) error {
	err := c.to.Add(s.ids[:s.n])
	s.n = 0
	return err
}

// addGood takes in the cells from first to end, of which n hold the ids that
// the stage has room for next, and the others are NULL.
func (c *Collector) addGood(s *stage, cells schemas.Cells, first, end, n int) {
	if cells.Counts == nil {
		s.counts.Valid += int64(n)
		s.counts.Nulls += int64(end - first - n)
	}
	for i := first; cells.Counts != nil && i < end; i++ {
		if cells.Values[i] == nil {
			s.counts.Nulls += cells.Counts[i]
		} else {
			s.counts.Valid += cells.Counts[i]
		}
	}
	if c.rows != nil {
		id := s.n
		for _, cell := range cells.Values[first:end] {
			key := uint64(nullKey)
			if cell != nil {
				key = rowKey(&s.ids[id])
				id++
			}
			s.keys = binary.BigEndian.AppendUint64(s.keys, key)
		}
	}
	s.n += n
}

// addEach takes in the cells from first to end, whatever they are.
func (c *Collector) addEach(s *stage, cells schemas.Cells, first, end int, onBad BadCell) error {
	for i := first; i < end; i++ {
		cell, like, key := cells.Values[i], cells.Count(i), uint64(badKey)
		if cell == nil {
			s.counts.Nulls += like
			key = nullKey
		} else if id, repaired, reason := c.rules.Parse(cell); reason == schemas.Valid {
			s.counts.Valid += like
			if repaired {
				s.counts.Repaired += like
			}
			s.ids[s.n] = id
			s.n++
			key = rowKey(&id)
		} else {
			s.counts.malformed(reason, like)
			if c.onBad != nil {
				if err := onBad(cells.Row(i), like, reason, cell); err != nil {
					return err
				}
			}
		}
		if c.rows != nil {
			s.keys = binary.BigEndian.AppendUint64(s.keys, key)
		}
	}
	return nil
}

func (c *Collector) bad(row, n int64, reason schemas.Reason, cell []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.onBad(row, n, reason, cell)
}

// Counts returns what was counted so far, or an error if a row got lost.
func (c *Collector) Counts() (Counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.Malformed = make(map[schemas.Reason]int64)
	maps.Copy(counts.Malformed, c.counts.Malformed)
	return counts, counts.Check()
}
