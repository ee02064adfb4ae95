package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"optsweep/jobs/idset"
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

// Knowledge is what a workspace tells of a job without a run.
type Knowledge struct {
	OptedOut *idset.OptedOut // ids on the suppression list and on own lists

	checked  map[string]int64 // Unix ms, by table
	versions map[unitKey]string
	ids      string // folder of the ids of the last run that asked; empty: there was none
}

// Know reads the lists and the ledger of a workspace, without its lease. A run
// that replaces the list meanwhile does no harm.
func (l Layout) Know(ctx context.Context, job, config string, rules schemas.Rules) (Knowledge, error) {
	for n := 1; ; n++ {
		k, err := l.know(ctx, job, config, rules)
		if n < 5 && errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // the list was replaced between two looks
		}
		return k, err
	}
}

func (l Layout) know(ctx context.Context, job, config string, rules schemas.Rules) (Knowledge, error) {
	w, err := l.read()
	if err != nil {
		return Knowledge{}, err
	}
	r := run{job: Job{Rules: rules}, deps: Deps{Workspace: w}}
	k := Knowledge{}
	if k.OptedOut, err = r.loadList(ctx, w.list); err != nil {
		return k, err
	}
	past := w.past[job]
	k.checked = past.Checked
	if past.asker != "" {
		k.ids = l.Run(past.asker, shardsDir)
	}
	k.versions, err = past.checkedAt(config)
	return k, err
}

// CheckedAt is since when what is known of a table is as it is: the start of the
// last run that asked and reconciled all of the table, or the oldest answer if
// that is earlier. Zero: never.
func (k Knowledge) CheckedAt(table string) time.Time {
	if ms := k.checked[table]; ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// Checked tells whether a unit is as the last run that asked has left it, or as
// what was written since without reading anything new.
func (k Knowledge) Checked(u schemas.Unit) bool {
	version, ok := k.versions[keyOf(u)]
	return ok && version == u.Version
}

// Seen opens the ids that the last run that asked has seen; nil if there is none
// or retention has removed them.
func (k Knowledge) Seen() (*idset.Reader, error) {
	if k.ids == "" {
		return nil, nil
	}
	r, err := idset.OpenReader(k.ids)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

// asks is what a history keeps of the last run that asked, and of what was
// written since.
type asks struct {
	asker  string          // run
	config string          // its digest
	left   []schemas.Event // its receipts
	later  []schemas.Event // of offline runs and unflags
}

// checkedAt gives the versions of the units that were checked: those at which
// the last run that asked has left them, moved on by what only wrote flags.
func (h history) checkedAt(config string) (map[unitKey]string, error) {
	versions := map[unitKey]string{}
	if config != h.asks.config {
		return versions, nil
	}
	for _, e := range h.asks.left {
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return nil, err
		}
		for _, r := range v.Receipts {
			versions[unitKey{r.Table, r.Unit}] = r.VersionAfter
		}
	}
	for _, e := range h.asks.later {
		var v struct {
			schemas.TableApplied
			Receipt schemas.Receipt `json:"receipt"`
		}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return nil, err
		}
		for _, r := range append(v.Receipts, v.Receipt) {
			if key := (unitKey{r.Table, r.Unit}); versions[key] == r.VersionBefore && r.Unit != "" {
				versions[key] = r.VersionAfter
			}
		}
	}
	return versions, nil
}
