package cli

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
)

// progress shows how far a phase has come: one line that is drawn again and
// again on a terminal, a line now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool

	phase, unit string
	total       int64
	done        atomic.Int64
	began       time.Time
	stop        chan struct{}
	stopped     chan struct{}
}

func (a *app) newProgress() wire.Progress {
	switch {
	case a.progress == "none":
		return quiet{}
	case a.progress == "auto" && a.onTerminal():
		return &progress{w: a.Stderr, terminal: true}
	default:
		return &progress{w: a.Stderr}
	}
}

const (
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 10 * time.Second
)

// Start begins a phase of total units.
func (p *progress) Start(phase string, total int64, unit string) {
	p.phase, p.total, p.unit = phase, total, unit
	p.done.Store(0)
	p.began = time.Now()
	p.stop, p.stopped = make(chan struct{}), make(chan struct{})
	every := lineEvery
	if p.terminal {
		every = redrawEvery
	}
	go func() {
		defer close(p.stopped)
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				p.draw(false)
			case <-p.stop:
				return
			}
		}
	}()
}

// Add moves the phase on by n units.
func (p *progress) Add(n int64) { p.done.Add(n) }

// Stop ends the phase and leaves its last line.
func (p *progress) Stop() {
	close(p.stop)
	<-p.stopped
	p.draw(true)
}

func (p *progress) draw(last bool) {
	line := progressLine(p.phase, p.done.Load(), p.total, p.unit, time.Since(p.began), last)
	switch {
	case p.terminal && last:
		fmt.Fprintf(p.w, "\r%s\x1b[K\n", line)
	case p.terminal:
		fmt.Fprintf(p.w, "\r%s\x1b[K", line)
	default:
		fmt.Fprintln(p.w, line)
	}
}

// progressLine is for example
// "check     1,500,000 of 3,000,000 ids, 50 %, 250,000 ids/s, 6s left".
func progressLine(phase string, done, total int64, unit string, took time.Duration, last bool) string {
	share := 100.0
	if total > 0 {
		share = 100 * float64(done) / float64(total)
	}
	line := fmt.Sprintf("%-8s %s of %s %s, %.0f %%", phase, report.Count(done), report.Count(total), unit, share)
	if took <= 0 || done == 0 {
		return line
	}
	rate := float64(done) / took.Seconds()
	line += fmt.Sprintf(", %s %s/s", report.Count(int64(rate)), unit)
	if last {
		return line + fmt.Sprintf(", %s", took.Round(time.Millisecond))
	}
	if done < total {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return line
}

// quiet shows nothing.
type quiet struct{}

func (quiet) Start(string, int64, string) {}
func (quiet) Add(int64)                   {}
func (quiet) Stop()                       {}
