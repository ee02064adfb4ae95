package sweep

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// Begun is a run that has started or was taken up again.
type Begun struct {
	Run     string
	Attempt int // how often it was taken up again
}

// begun says so to whoever wants to know.
func (r *run) begun() {
	if r.deps.Begun == nil {
		return
	}
	b := Begun{Run: r.id}
	for _, e := range r.events() {
		if e.Type == schemas.EventRunResumed {
			b.Attempt++
		}
	}
	r.deps.Begun(b)
}

// ID tells one workspace from another, as long as it lives: it follows from the
// moment at which the workspace was made. It is no secret.
func (l Layout) ID() (string, error) {
	id, err := readIdentity(string(l))
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(identity{Format: 1, Created: id.Created})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(data, '\n')) // as the file was when it was made
	return hex.EncodeToString(sum[:]), nil
}

// OptedOutSince reads from the check journal of a run since when, in Unix ms,
// those ids are opted out that it was the first to find so. The ids stay there.
func (l Layout) OptedOutSince(run string) (sinceMS []int64, err error) {
	_, err = ledger.Read(l.Run(run, checkLog), eachIn(func(a answered) error {
		for o := range a.OptedOut.all() {
			sinceMS = append(sinceMS, o.SinceMS)
		}
		return nil
	}))
	return sinceMS, err
}
