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
	ids  [stageSize]schemas.ID
	keys []byte // of all cells, for a RowWriter
}

// stageSize is the number of ids that are handed over at a time.
const stageSize = 512

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
	stage := c.stage.Get().(*stage)
	defer c.stage.Put(stage)
	stage.keys = stage.keys[:0]
	counts := Counts{Rows: cells.Rows()}
	n := 0
	for i, cell := range cells.Values {
		like := cells.Count(i)
		if cell == nil {
			counts.Nulls += like
			stage.key(c.rows, nullKey)
			continue
		}
		id, repaired, reason := c.rules.Parse(cell)
		if reason != schemas.Valid {
			counts.malformed(reason, like)
			stage.key(c.rows, badKey)
			if c.onBad == nil {
				continue
			}
			if err := onBad(cells.Row(i), like, reason, cell); err != nil {
				return err
			}
			continue
		}
		counts.Valid += like
		if repaired {
			counts.Repaired += like
		}
		stage.ids[n] = id
		stage.key(c.rows, max(keyOf(id[:]), badKey))
		if n++; n == stageSize {
			if err := c.to.Add(stage.ids[:n]); err != nil {
				return err
			}
			n = 0
		}
	}
	if err := c.to.Add(stage.ids[:n]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Add(counts)
	if c.rows == nil {
		return nil
	}
	return c.rows.add(cells, stage.keys)
}

// key appends the key of a cell, if somebody wants it.
func (s *stage) key(w *RowWriter, key uint64) {
	if w != nil {
		s.keys = binary.BigEndian.AppendUint64(s.keys, key)
	}
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
