package bqfake

import (
	"slices"

	"google.golang.org/grpc/codes"
)

// Call is one request.
type Call struct {
	N      int    // of all calls, from 1
	Method string // such as tables.get, jobs.insert, ReadRows
	Target string // table, dataset, job or stream
	Step   string // jobs.insert, jobs.get and getQueryResults: label optsweep_step of the job
	DryRun bool
	Labels map[string]string // jobs.insert: of the job
	SQL    string            // jobs.insert
	Offset int64             // ReadRows
}

// Fault is what happens to a call in place of an answer. The zero Fault is
// none.
type Fault struct {
	Do      func() // runs when the call arrives, before all else
	Stored  bool   // what was asked is done before the call fails
	Close   bool   // the connection closes without an answer
	Status  int    // of HTTP
	Reason  string // such as backendError
	Message string
	Code    codes.Code // of gRPC; ReadRows: after the messages of After

	// ReadRows only: so many messages are sent; then the stream fails with
	// Code, or ends as if it were complete, or says nothing any more.
	After int
	End   bool
	Hang  bool
}

func (f Fault) fails() bool {
	return f.Close || f.Status != 0 || f.Code != codes.OK || f.End || f.Hang
}

type faultRule struct {
	match func(Call) bool
	nth   int
	seen  int
	fault Fault
}

// Match selects calls of a method about a step; an empty string stands for any.
func Match(method, step string) func(Call) bool {
	return func(c Call) bool {
		return (method == "" || c.Method == method) && (step == "" || c.Step == step) && !c.DryRun
	}
}

// On makes the nth call that matches fail, or each if nth is 0. The first rule
// that applies counts. match must not call the server.
func (s *Server) On(match func(Call) bool, nth int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &faultRule{match: match, nth: nth, fault: f})
}

// death is the end of a process as its server sees it.
type death struct {
	at     int // call that is the last one; 0: none
	stored bool
	over   bool
}

// Kill lets the process die at the nth call from now: that one fails, with its
// effect or without, and none after it gets through.
func (s *Server) Kill(nth int, stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = death{at: len(s.calls) + nth, stored: stored}
}

// Revive lets calls through again.
func (s *Server) Revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = death{}
}

// killed is the fault of a dead process's calls. No client repeats them.
var killed = Fault{Status: 400, Reason: "killed", Message: "the process was killed", Code: codes.FailedPrecondition}

// arrive counts a call and finds what is to happen to it.
func (s *Server) arrive(c Call) Fault {
	s.mu.Lock()
	c.N = len(s.calls) + 1
	s.calls = append(s.calls, c)
	f := s.faultOf(c)
	s.mu.Unlock()
	if f.Do != nil {
		f.Do()
	}
	return f
}

func (s *Server) faultOf(c Call) Fault {
	switch {
	case s.dead.over:
		return killed
	case s.dead.at == c.N:
		s.dead.over = true
		f := killed
		f.Stored = s.dead.stored
		return f
	}
	var found *faultRule
	for _, r := range s.faults {
		if !r.match(c) {
			continue
		}
		if r.seen++; found == nil && (r.nth == 0 || r.nth == r.seen) {
			found = r
		}
	}
	if found == nil {
		return Fault{}
	}
	return found.fault
}

// Calls lists the calls so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count counts the calls that match.
func (s *Server) Count(match func(Call) bool) int {
	n := 0
	for _, c := range s.Calls() {
		if match(c) {
			n++
		}
	}
	return n
}

// Fate is how a job goes. The zero Fate is a success at once.
type Fate struct {
	Polls   int    // so often it is asked about before it ends; < 0: until Finish
	Reason  string // it fails for
	Message string
	Idle    bool // it succeeds and does nothing
}

type fateRule struct {
	match func(Call) bool
	nth   int
	seen  int
	fate  Fate
}

// Let sets the fate of the job that the nth matching jobs.insert starts, or of
// each if nth is 0. The first rule that applies counts.
func (s *Server) Let(match func(Call) bool, nth int, f Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fates = append(s.fates, &fateRule{match: match, nth: nth, fate: f})
}

func (s *Server) fateOf(c Call) Fate {
	var found *fateRule
	for _, r := range s.fates {
		if !r.match(c) {
			continue
		}
		if r.seen++; found == nil && (r.nth == 0 || r.nth == r.seen) {
			found = r
		}
	}
	if found == nil {
		return Fate{}
	}
	return found.fate
}
