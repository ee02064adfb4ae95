package daemon

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// progress remembers how far a run has come, for whoever asks.
type progress struct {
	now func() time.Time
	log *slog.Logger

	done atomic.Int64
	mu   sync.Mutex // guards the rest
	at   Progress
	from time.Time
}

// Progress is how far a phase has come.
type Progress struct {
	Phase string        `json:"phase"`
	Unit  string        `json:"unit"`
	Done  int64         `json:"done"`
	Total int64         `json:"total"`
	Rate  float64       `json:"rate"` // units a second
	Left  time.Duration `json:"-"`    // 0: not known
}

// Start begins a phase of total units.
func (p *progress) Start(phase string, total int64, unit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.from = Progress{Phase: phase, Unit: unit, Total: total}, p.now()
	p.done.Store(0)
	p.log.Info("phase", "phase", phase, "total", total, "unit", unit)
}

// Add moves the phase on by n units.
func (p *progress) Add(n int64) { p.done.Add(n) }

// Stop ends the phase.
func (p *progress) Stop() {}

// look tells how far the run is now. Its Phase is empty before the first.
func (p *progress) look() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at
	at.Done = p.done.Load()
	if took := p.now().Sub(p.from).Seconds(); at.Phase != "" && took > 0 {
		at.Rate = float64(at.Done) / took
	}
	if at.Rate > 0 && at.Done < at.Total {
		at.Left = time.Duration(float64(at.Total-at.Done) / at.Rate * float64(time.Second)).Round(time.Second)
	}
	return at
}
