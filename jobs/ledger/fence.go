package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Fence tells whether a lease is still its holder's. The lock of a lease can
// be lost without a word: somebody removes its file, or it lies on a network
// file system that forgets locks. Therefore each holder writes down a number,
// one higher than that of the holder before, and checks that it still stands
// there before each write that counts.
type Fence struct {
	path string
	what string
	mine []byte // what the file holds as long as nobody else has the lease
}

// fenced is the content of a fence's file.
type fenced struct {
	Number int64 `json:"number"`
	Owner
}

// Raise takes the next number of the fence at path, for the new holder of a
// lease. It must be called after Acquire and before any other write.
func Raise(disk durable.Disk, path, what string, me Owner) (*Fence, error) {
	var last fenced
	data, err := os.ReadFile(path)
	if err == nil {
		if json.Unmarshal(data, &last) != nil {
			return nil, schemas.Errorf(schemas.Failed, "%s is damaged", path).
				WithHint("remove it when no run is under way, on any machine")
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f := &Fence{path: path, what: what}
	if f.mine, err = json.Marshal(fenced{Number: last.Number + 1, Owner: me}); err != nil {
		return nil, err
	}
	if err := disk.WriteFile(path, f.mine, 0o600); err != nil {
		return nil, fmt.Errorf("lease on %s: %w", what, err)
	}
	return f, nil
}

// Check fails with class Locked if somebody else has taken the lease since.
func (f *Fence) Check() error {
	data, err := os.ReadFile(f.path)
	if err == nil && bytes.Equal(data, f.mine) {
		return nil
	}
	const hint = "this run has stopped and writes nothing more; the next run goes on where it was"
	var now fenced
	if err == nil && json.Unmarshal(data, &now) == nil {
		return schemas.Errorf(schemas.Locked, "%s was taken over by job %q, process %d on %s at %s",
			f.what, now.Job, now.PID, now.Host, now.Since.UTC().Format(time.RFC3339)).WithHint(hint)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return schemas.Errorf(schemas.Locked, "the lease on %s is lost: %s is gone", f.what, f.path).WithHint(hint)
	}
	return schemas.Errorf(schemas.Locked, "the lease on %s is in doubt: %s cannot be read", f.what, f.path).WithHint(hint)
}
