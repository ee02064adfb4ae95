package wire

import (
	"runtime/debug"
	"sync"
)

// memory shares the collector's limit among runs that are side by side: it is
// the sum of theirs, less a sixteenth for the program itself and what else the
// system counts as its memory.
type memory struct {
	mu     sync.Mutex
	runs   int
	sum    int64
	before int64 // limit without runs
}

// take adds a run's limit; release takes it away again.
func (m *memory) take(bytes int64) (release func()) {
	m.add(1, bytes)
	return func() { m.add(-1, -bytes) }
}

func (m *memory) add(runs int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runs == 0 {
		m.before = debug.SetMemoryLimit(-1)
	}
	m.runs += runs
	m.sum += bytes
	limit := m.sum - m.sum/16
	if m.runs == 0 {
		limit = m.before
	}
	debug.SetMemoryLimit(limit)
}
