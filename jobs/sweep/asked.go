package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// AskedBatch is what the check journal holds of one batch, with the ids: the
// batch was asked about all ids of the run from First to Last, in the order of
// idset, but those on the suppression list.
type AskedBatch struct {
	Batch
	First, Last schemas.ID
	OptedOut    []schemas.OptOut
	Rejected    map[string]schemas.Reason // by pseudonym
}

// ReadAskedBatch reads an event of a check journal.
func ReadAskedBatch(e schemas.Event) (AskedBatch, error) {
	a, err := decodeAnswered(e)
	if err != nil {
		return AskedBatch{}, err
	}
	if len(a.First) != schemas.IDSize || len(a.Last) != schemas.IDSize {
		return AskedBatch{}, fmt.Errorf("event %d holds no batch", e.Seq)
	}
	b := AskedBatch{
		Batch: Batch{Batch: a.Batch, Count: a.Count, Digest: a.Digest, AsOfMS: a.AsOfMS, OptedOut: a.OptedOut.count(), Rejected: len(a.Rejected)},
		First: schemas.ID(a.First), Last: schemas.ID(a.Last), OptedOut: slices.Collect(a.OptedOut.all()), Rejected: map[string]schemas.Reason{},
	}
	for _, x := range a.Rejected {
		b.Rejected[x.Pseudonym] = x.Reason
	}
	return b, nil
}

// Covers tells whether id lies between the first and the last id of the batch.
func (b AskedBatch) Covers(id schemas.ID) bool {
	return idset.Compare(b.First, id) <= 0 && idset.Compare(id, b.Last) <= 0
}

// Pseudonyms are the pseudonyms of the workspace.
func (l Layout) Pseudonyms() (schemas.Pseudonyms, error) {
	path := l.PseudonymKey()
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return schemas.Pseudonyms{}, schemas.Errorf(schemas.Failed, "the workspace %s has lost %s", string(l), keyFile).
			WithHint("restore it from a copy; without it no pseudonym of an earlier run can be found again")
	}
	if err != nil {
		return schemas.Pseudonyms{}, err
	}
	if len(key) != 32 {
		return schemas.Pseudonyms{}, fmt.Errorf("%s: %d bytes, want 32", path, len(key))
	}
	return schemas.NewPseudonyms([32]byte(key)), nil
}

// List is the path of the suppression list that an event speaks of.
func (l Layout) List(u schemas.SuppressionUpdated) string {
	return filepath.Join(string(l), filepath.FromSlash(u.File))
}
