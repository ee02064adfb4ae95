package ledger

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"optsweep/schemas"
)

// Owner says who holds a lease.
type Owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Job   string    `json:"job"`
	Tool  string    `json:"tool_version,omitempty"` // of the program
}

// Lease is a lock that the operating system drops when its owner dies, so a
// killed run never blocks the next one. It covers one machine.
type Lease struct{ lock *flock.Flock }

// Acquire takes the lease at path or fails at once with an error of class
// Locked that names the owner. what says in words what is being locked.
func Acquire(path, what string, me Owner) (*Lease, error) {
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o666))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lease on %s: %w", what, err)
	}
	if !ok {
		return nil, locked(path, what)
	}
	l := &Lease{lock: lock}
	data, err := json.Marshal(me)
	if err == nil {
		// Only for the message that others see; the lock itself is the flock.
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		_ = lock.Unlock()
		return nil, fmt.Errorf("lease on %s: %w", what, err)
	}
	return l, nil
}

func locked(path, what string) error {
	e := schemas.Errorf(schemas.Locked, "%s is in use by another run", what)
	var o Owner
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &o) == nil && o.PID != 0 {
		e = schemas.Errorf(schemas.Locked, "%s is in use by job %q, process %d on %s since %s",
			what, o.Job, o.PID, o.Host, o.Since.UTC().Format(time.RFC3339))
	}
	return e.WithHint("wait for it to end; the lease is dropped by itself when that process ends")
}

// Release gives the lease back.
func (l *Lease) Release() error { return l.lock.Unlock() }

// KeyLeasePath is where the lease on an API key lives: one folder for all
// users of the machine, and a name made of the key's fingerprint, which does
// not give the key away.
func KeyLeasePath(tmp, fingerprint string) (string, error) {
	dir := filepath.Join(tmp, "optsweep-leases")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder", dir)
	}
	// Past the umask, so that two users of one key exclude each other. It
	// fails for a folder of another user, who has done the same.
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil && !os.IsPermission(err) {
		return "", err
	}
	return filepath.Join(dir, "key-"+fingerprint+".lock"), nil
}
