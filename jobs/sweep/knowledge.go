package sweep

import (
	"path/filepath"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// read reads the ledger of a workspace without its lease and without changing
// anything.
func (l Layout) read() (*Workspace, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	w := &Workspace{dir: string(l)}
	if _, err := ledger.Read(filepath.Join(w.dir, ledgerFile), w.remember); err != nil {
		return nil, lostLedger(w.dir, err)
	}
	return w, nil
}

// OwnLists are the own lists in force, in the order of their names.
func (l Layout) OwnLists() ([]schemas.OwnList, error) {
	w, err := l.read()
	if err != nil {
		return nil, err
	}
	return w.OwnLists(), nil
}
