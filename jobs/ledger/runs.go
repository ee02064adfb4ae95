package ledger

import (
	"encoding/json"

	"optsweep/schemas"
)

// Run is what a ledger holds of one run.
type Run struct {
	ID     string
	Events []schemas.Event
	Ended  bool // finished or given up; otherwise it is under way or interrupted
}

// First is the number of the run's first event, Last that of its last.
func (r Run) First() int64 { return r.Events[0].Seq }

// Last is the number of the run's last event.
func (r Run) Last() int64 { return r.Events[len(r.Events)-1].Seq }

// Runs verifies the ledger at path without changing it and passes its runs to
// each, in the order in which they ended; one that has not ended comes last.
// Of the ledger's lines only those of runs that have not ended are held in
// memory.
func Runs(path string, each func(Run) error) (End, error) {
	g := Grouper{Each: each}
	end, err := Read(path, g.Add)
	if err != nil {
		return End{}, err
	}
	return end, g.Finish()
}

// Grouper sorts the events of a ledger into runs.
type Grouper struct {
	Each func(Run) error // gets every run once

	open []Run
}

// Add takes the next event. What belongs to no run, or comes after the end of
// one, is passed over.
func (g *Grouper) Add(e schemas.Event) error {
	if e.Run == "" {
		return nil
	}
	at := -1
	for i := range g.open {
		if g.open[i].ID == e.Run {
			at = i
		}
	}
	if at < 0 {
		if e.Type != schemas.EventRunStarted {
			return nil
		}
		g.open = append(g.open, Run{ID: e.Run})
		at = len(g.open) - 1
	}
	r := &g.open[at]
	r.Events = append(r.Events, e)
	switch e.Type {
	case schemas.EventRunFinished, schemas.EventRunAbandoned:
		ended := *r
		ended.Ended = true
		g.open = append(g.open[:at], g.open[at+1:]...)
		return g.Each(ended)
	}
	return nil
}

// Finish passes on the runs that have not ended.
func (g *Grouper) Finish() error {
	for _, r := range g.open {
		if err := g.Each(r); err != nil {
			return err
		}
	}
	return nil
}

// Position is where the run's last event stands in the ledger. Its hash is
// made from the event, which is written in one way only.
func (r Run) Position() (Head, error) {
	e := r.Events[len(r.Events)-1]
	body, err := json.Marshal(e)
	return Head{Seq: e.Seq, Hash: hashOf(body)}, err
}
