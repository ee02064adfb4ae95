package sweep

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/signing"
	"optsweep/schemas"
)

// settleRun puts what follows from the ledger beside it: the report of the
// last run, then the ledger's head, in the folder of the run and last in the
// workspace.
func (w *Workspace) settleRun(run string) (schemas.Report, error) {
	rep, err := report.Build(run, w.last)
	if err != nil {
		return schemas.Report{Run: run}, err
	}
	data, err := report.Marshal(rep)
	if err != nil {
		return rep, err
	}
	if err := w.fence.Check(); err != nil {
		return rep, err
	}
	if err := w.disk.WriteFile(filepath.Join(w.runDir(run), reportFile), data, 0o600); err != nil {
		return rep, err
	}
	if err := ledger.WriteHead(w.disk, filepath.Join(w.runDir(run), ledger.HeadFile), w.ledger.Head()); err != nil {
		return rep, err
	}
	return rep, w.seal()
}

// settle does the same for a run that was killed between its last event and
// its report.
func (w *Workspace) settle() error {
	if len(w.last) == 0 {
		return nil
	}
	last := w.last[len(w.last)-1]
	if last.Type != schemas.EventRunFinished || last.Seq <= w.sealed.Seq {
		return nil
	}
	_, err := w.settleRun(last.Run)
	return err
}

// seal keeps the head of the ledger in a file of its own, so that a ledger
// that loses its last lines is found out.
func (w *Workspace) seal() error {
	head := w.ledger.Head()
	if head == w.sealed || w.fence.Check() != nil {
		return nil // the ledger is another one's now
	}
	if err := ledger.WriteHead(w.disk, filepath.Join(w.dir, ledger.HeadFile), head); err != nil {
		return err
	}
	w.sealed = head
	return nil
}

// Signer is the key that the ledger knows for evidence packs, if any.
func (l Layout) Signer() (known schemas.SigningKey, err error) {
	_, err = ledger.Read(l.Ledger(), func(e schemas.Event) error {
		switch e.Type {
		case schemas.EventSigningKey:
			return json.Unmarshal(e.Data, &known)
		case schemas.EventLedgerCut:
			var v schemas.LedgerCut
			err := json.Unmarshal(e.Data, &v)
			if v.Kept.SigningKey != nil {
				known = *v.Kept.SigningKey
			}
			return err
		}
		return nil
	})
	return known, err
}

// SigningKey returns the key that signs evidence packs. A workspace from
// before there were such keys gets one, and its ledger the public half. A key
// that the ledger knows and that is gone is an error: another one in its place
// would not be noticed by those who trust the first.
func (w *Workspace) SigningKey() (ed25519.PrivateKey, error) {
	path := filepath.Join(w.dir, evidenceFile)
	known, err := Layout(w.dir).Signer()
	if err != nil {
		return nil, err
	}
	key, err := signing.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		if known != (schemas.SigningKey{}) {
			return nil, schemas.Errorf(schemas.Failed, "the workspace %s has lost %s", w.dir, evidenceFile).
				WithHint("restore it from a copy of the workspace, or sign with a key of your own: --signing-key")
		}
		key, err = signing.Make(w.disk, path)
	}
	if err != nil {
		return nil, err
	}
	public := signing.Of(key)
	switch known {
	case public:
		return key, nil
	case schemas.SigningKey{}:
		return key, w.append("", schemas.EventSigningKey, public)
	default:
		return nil, schemas.Errorf(schemas.Integrity, "%s is not the key that the ledger knows", path).
			WithHint("restore it from a copy of the workspace, or sign with a key of your own: --signing-key")
	}
}
