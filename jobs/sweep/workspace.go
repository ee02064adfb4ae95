package sweep

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/signing"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// WorkspaceFormat is the version of the workspace's layout that this package
// writes and reads.
const WorkspaceFormat = 1

// Names in a workspace.
const (
	workspaceFile = "workspace.json"
	ledgerFile    = "ledger.ndjson"
	leaseFile     = "lease"
	fenceFile     = "fence"
	keyFile       = "pseudonym.key"
	evidenceFile  = "evidence.key"
	runsDir       = "runs"
)

// identity is the content of workspace.json, written last: a workspace without
// it was never whole. See Layout.ID before changing Created.
type identity struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	Tool    string    `json:"tool_version,omitempty"` // that gave the workspace its format; workspaces from before have none
}

// Workspace is the folder that holds every durable artefact of runs. While it
// is open no other process can open it.
type Workspace struct {
	Pseudonyms schemas.Pseudonyms

	dir    string
	disk   durable.Disk
	lease  *ledger.Lease
	fence  *ledger.Fence
	ledger journal
	sealed ledger.Head                // in the file ledger.head
	last   []schemas.Event            // of the last run
	list   schemas.SuppressionUpdated // the suppression list in force
	past   map[string]history         // of finished runs, by job

	extracted map[string]string // last run that extracted all it could, by job

	own     map[string]ownList                // own lists in force, by source
	removed map[string]schemas.OwnListRemoved // own lists that were given up

	unflags map[string]*unflagged // those that were cut short, by pseudonym
}

// CreateWorkspace makes a workspace in dir, which may exist but must hold none.
func CreateWorkspace(disk durable.Disk, dir string, now func() time.Time) error {
	if _, err := os.Stat(filepath.Join(dir, workspaceFile)); err == nil {
		return schemas.Errorf(schemas.Usage, "%s is a workspace already", dir).
			WithHint("it was left as it is; nothing has to be made, go on with: optsweep run --dry-run")
	}
	if err := disk.MkdirAll(filepath.Join(dir, runsDir), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	chain, err := ledger.Create(disk, filepath.Join(dir, ledgerFile), now)
	if errors.Is(err, fs.ErrExist) {
		// A ledger without workspace.json: an earlier attempt was cut short,
		// or workspace.json was lost. The ledger is kept in either case.
		chain, err = ledger.Open(disk, filepath.Join(dir, ledgerFile), now, func(schemas.Event) error {
			return schemas.Errorf(schemas.Failed, "%s holds a ledger with events but no %s", dir, workspaceFile).
				WithHint("restore %s from a copy of the workspace, or choose another folder", workspaceFile)
		})
	}
	if err != nil {
		return err
	}
	defer chain.Close()
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	if err := disk.WriteFile(filepath.Join(dir, keyFile), key[:], 0o600); err != nil {
		return err
	}
	signer, err := signing.Make(disk, filepath.Join(dir, evidenceFile))
	if err != nil {
		return err
	}
	data, err := json.Marshal(identity{Format: WorkspaceFormat, Created: now().UTC()})
	if err != nil {
		return err
	}
	if err := disk.WriteFile(filepath.Join(dir, workspaceFile), append(data, '\n'), 0o600); err != nil {
		return err
	}
	if _, err = chain.Append("", schemas.EventWorkspaceCreated, identity{Format: WorkspaceFormat}); err != nil {
		return err
	}
	if _, err := chain.Append("", schemas.EventSigningKey, signing.Of(signer)); err != nil {
		return err
	}
	return ledger.WriteHead(disk, filepath.Join(dir, ledger.HeadFile), chain.Head())
}

// OpenWorkspace opens the workspace in dir and takes its lease. me is shown to
// whoever is turned away meanwhile.
func OpenWorkspace(disk durable.Disk, dir string, now func() time.Time, me ledger.Owner) (*Workspace, error) {
	if _, err := readIdentity(dir); err != nil {
		return nil, err
	}
	lease, err := ledger.Acquire(filepath.Join(dir, leaseFile), "the workspace "+dir, me)
	if err != nil {
		return nil, err
	}
	w := &Workspace{dir: dir, disk: disk, lease: lease}
	w.fence, err = ledger.Raise(disk, filepath.Join(dir, fenceFile), "the workspace "+dir, me)
	if err == nil {
		err = w.load(now)
	}
	if err == nil {
		err = w.mark(me.Tool)
	}
	if err != nil {
		return nil, errors.Join(err, lease.Release())
	}
	return w, nil
}

func (w *Workspace) load(now func() time.Time) error {
	key, err := os.ReadFile(filepath.Join(w.dir, keyFile))
	if err != nil {
		return err
	}
	if len(key) != 32 {
		return fmt.Errorf("%s: %d bytes, want 32", filepath.Join(w.dir, keyFile), len(key))
	}
	w.Pseudonyms = schemas.NewPseudonyms([32]byte(key))
	w.sealed, err = ledger.ReadHead(filepath.Join(w.dir, ledger.HeadFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	chain, err := ledger.OpenFrom(w.disk, filepath.Join(w.dir, ledgerFile), now, w.sealed, w.remember)
	w.ledger = journal{chain, w.fence}
	return lostLedger(w.dir, err)
}

// journal is a log that only the present holder of the workspace's lease can
// append to.
type journal struct {
	*ledger.Chain
	fence *ledger.Fence
}

// AppendAll adds events and returns once they are durable.
func (j journal) AppendAll(run string, entries []ledger.Entry) error {
	if err := j.fence.Check(); err != nil {
		return err
	}
	_, err := j.Chain.AppendAll(run, entries)
	return err
}

// Append adds an event and returns it once it is durable.
func (j journal) Append(run string, typ schemas.EventType, data any) (schemas.Event, error) {
	if err := j.fence.Check(); err != nil {
		return schemas.Event{}, err
	}
	return j.Chain.Append(run, typ, data)
}

// remember keeps the events of the last run while the ledger is read.
func (w *Workspace) remember(e schemas.Event) error {
	switch e.Type {
	case schemas.EventRunStarted:
		w.last = nil
	case schemas.EventSuppressionUpdated:
		var v schemas.SuppressionUpdated
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
		}
		if !v.Preview {
			w.list = v
		}
	case schemas.EventUnflagApplied:
		for job, h := range w.past {
			h.later = append(slices.Clip(h.later), e)
			w.past[job] = h
		}
		return w.rememberUnflag(e)
	case schemas.EventUnflagStarted, schemas.EventUnflagIntent, schemas.EventUnflagged:
		return w.rememberUnflag(e)
	case schemas.EventOwnListImported, schemas.EventOwnListRemoved, schemas.EventOwnListEdited:
		return w.rememberOwn(e)
	case schemas.EventLedgerCut:
		return w.rememberCut(e)
	}
	if e.Run != "" {
		w.last = append(w.last, e)
	}
	if e.Type == schemas.EventExtracted {
		return w.rememberExtracted(e.Run)
	}
	if e.Type == schemas.EventRunFinished {
		return w.keep()
	}
	return nil
}

// append adds an event to the ledger.
func (w *Workspace) append(run string, typ schemas.EventType, data any) error {
	e, err := w.ledger.Append(run, typ, data)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return w.remember(e)
}

// Close gives the workspace back.
func (w *Workspace) Close() error {
	return errors.Join(w.seal(), w.ledger.Close(), w.lease.Release())
}

// Dir is the folder of the workspace.
func (w *Workspace) Dir() string { return w.dir }

func (w *Workspace) runDir(run string) string { return filepath.Join(w.dir, runsDir, run) }
