package sweep

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// Clearer is a table whose flags can be taken away. Runs do not have this seam:
// nothing that they do can clear a flag.
type Clearer interface {
	Plan(ctx context.Context) ([]schemas.Unit, []schemas.UnitFailure, error)
	Version(ctx context.Context, u schemas.Unit) (string, error)
	RemoveLeftovers(units []schemas.Unit) error
	// Clear takes the flags of the rows away whose cell matches, with the
	// promises of Target.Apply. A unit without such a flag stays as it is. Where a
	// row has several cells, others tells who of them are opted out, too. Both
	// must be safe for concurrent use.
	Clear(ctx context.Context, u schemas.Unit, match, others func(cell []byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error)
}

// ClearTable is one table of a job.
type ClearTable struct {
	Name  string
	Table Clearer
}

// UnflagJob says whose flags are taken away, by whom and why.
type UnflagJob struct {
	ID      schemas.ID
	Rules   schemas.Rules
	Act     schemas.Unflag // all but the pseudonym
	Tables  []ClearTable
	Workers int
	OffList []string // own lists that the id is taken off, too
}

// maxReason bounds a reason or a ticket, in bytes.
const maxReason = 1000

// hashOrPhone finds hashes in hexadecimal, and phone numbers that begin with
// "+" or 0, which no date in ISO form does.
var hashOrPhone = regexp.MustCompile(`[0-9A-Fa-f]{32,}|\+[0-9][0-9 ()./-]{6,}[0-9]|\b0[0-9 ()-]{7,}[0-9]`)

// CheckReason refuses a reason that says nothing, or that holds what must not
// be in the ledger: an id, a hash, a key, an e-mail address or a phone number.
// what names it in the error.
func CheckReason(what, text string) error {
	for _, word := range strings.Fields(text) {
		if _, _, reason := (schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}).Parse([]byte(word)); reason == schemas.Valid || reason == schemas.WrongScope {
			return revealing(what)
		}
	}
	switch {
	case len(text) > maxReason:
		return schemas.Errorf(schemas.Usage, "%s is longer than %d bytes", what, maxReason)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return schemas.Errorf(schemas.Usage, "%s holds a control character or a second line", what)
	case !bytes.Equal(schemas.Hide([]byte(text)), []byte(text)) || hashOrPhone.MatchString(text):
		return revealing(what)
	}
	return nil
}

func revealing(what string) error {
	return schemas.Errorf(schemas.Usage, "%s holds something that looks like an id, a hash, a key, an e-mail address or a phone number", what).
		WithHint("it goes into the ledger, which is shown to others: say what happened without naming the person")
}

// unflagged is an unflag that was begun and not completed.
type unflagged struct {
	seq     int64 // of its first event
	started schemas.UnflagStarted
	applied applied
	order   []schemas.Receipt
}

// rememberUnflag keeps what a later attempt needs while the ledger is read.
func (w *Workspace) rememberUnflag(e schemas.Event) error {
	var v struct {
		schemas.UnflagStarted
		Receipt schemas.Receipt `json:"receipt"`
	}
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
	}
	u := w.unflags[v.Pseudonym]
	switch {
	case e.Type == schemas.EventUnflagged:
		delete(w.unflags, v.Pseudonym)
	case e.Type == schemas.EventUnflagStarted:
		if w.unflags == nil {
			w.unflags = map[string]*unflagged{}
		}
		w.unflags[v.Pseudonym] = &unflagged{seq: e.Seq, started: v.UnflagStarted, applied: newApplied()}
	case u == nil:
		return schemas.Errorf(schemas.Integrity, "event %d of the ledger belongs to no unflag", e.Seq)
	case e.Type == schemas.EventUnflagIntent:
		u.applied.add(schemas.EventApplyIntent, v.Receipt)
	default:
		u.applied.add(schemas.EventUnitApplied, v.Receipt)
		u.order = append(u.order, v.Receipt)
	}
	return nil
}

// Unflag takes an id off the suppression list and its flags out of all tables.
// Each change is in the ledger before and after it happens; what was cut short
// is completed by doing the same again. The next run flags the id again if the
// operator still lists it. An id that is on an own list is refused unless that
// list is named.
func (w *Workspace) Unflag(ctx context.Context, job UnflagJob) (schemas.Unflagged, error) {
	if err := w.noRunUnfinished(); err != nil {
		return schemas.Unflagged{}, err
	}
	found, info, err := idset.FindInList(ctx, w.listPath(), w.listPath() == "", job.ID)
	if err != nil {
		return schemas.Unflagged{}, err
	}
	if err := sameList(w.listPath(), info.Digest, w.list.Digest); err != nil {
		return schemas.Unflagged{}, err
	}
	listed, err := w.ownListings(ctx, job.ID)
	if err != nil {
		return schemas.Unflagged{}, err
	}
	if err := w.mayLeave(listed, job.OffList); err != nil {
		return schemas.Unflagged{}, err
	}
	act := job.Act
	act.Pseudonym = w.Pseudonyms.ID(job.ID)
	if w.unflags[act.Pseudonym] == nil {
		started := schemas.UnflagStarted{Unflag: act, ListDigest: w.list.Digest, OwnLists: listed}
		if found != nil {
			started.SinceMS, started.FoundMS = found.SinceMS, found.FoundMS
		}
		if err := w.append("", schemas.EventUnflagStarted, started); err != nil {
			return schemas.Unflagged{}, err
		}
	}
	u := w.unflags[act.Pseudonym]
	if found != nil {
		if err := w.removeFromList(ctx, job.ID, u); err != nil {
			return schemas.Unflagged{}, err
		}
	}
	if err := w.leaveOwn(ctx, job.ID, listed); err != nil {
		return schemas.Unflagged{}, err
	}
	c := clearing{workspace: w, job: job, unflag: u}
	c.listed = sync.OnceValues(func() (*idset.OptedOut, error) { return w.allListed(ctx, job.Rules) })
	if err := c.tables(ctx); err != nil {
		return schemas.Unflagged{}, err
	}
	done := schemas.Unflagged{UnflagStarted: u.started, ListDigestAfter: w.list.Digest, Units: c.units, Receipts: u.order}
	if done.Receipts == nil {
		done.Receipts = []schemas.Receipt{}
	}
	return done, w.append("", schemas.EventUnflagged, done)
}

// noRunUnfinished refuses an unflag in the middle of a run, which has the id in
// its set of ids to flag.
func (w *Workspace) noRunUnfinished() error {
	if len(w.last) == 0 {
		return nil
	}
	switch last := w.last[len(w.last)-1]; last.Type {
	case schemas.EventRunFinished, schemas.EventRunAbandoned:
		return w.settle()
	default:
		return schemas.Errorf(schemas.Failed, "run %s is not finished", last.Run).
			WithHint("finish it first with: optsweep run; or, if the operator cannot be asked, with: optsweep run --offline")
	}
}

// removeFromList brings a list without the id into force.
func (w *Workspace) removeFromList(ctx context.Context, id schemas.ID, u *unflagged) error {
	if err := w.fence.Check(); err != nil {
		return err
	}
	before := w.listPath()
	path := filepath.Join(w.dir, listDir, fmt.Sprintf("unflag-%d-%s", u.seq, filepath.Base(before)))
	info, err := idset.RemoveFromList(ctx, idset.ListRemoval{Disk: w.disk, Old: before, ID: id, New: path})
	if err != nil {
		return err
	}
	if err := sameList(before, info.Previous, w.list.Digest); err != nil {
		return err
	}
	file, err := filepath.Rel(w.dir, path)
	if err != nil {
		return err
	}
	updated := schemas.SuppressionUpdated{File: filepath.ToSlash(file), Total: info.Total, Removed: 1, Digest: info.Digest}
	if err := w.append("", schemas.EventSuppressionUpdated, updated); err != nil {
		return err
	}
	return w.dropLists(before)
}

// clearing takes the flags of an id out of the tables.
type clearing struct {
	workspace *Workspace
	job       UnflagJob
	unflag    *unflagged
	units     int
	listed    func() (*idset.OptedOut, error) // everybody else on any list

	mu     sync.Mutex // of the ledger and failed
	failed []error
}

func (c *clearing) tables(ctx context.Context) error {
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(max(1, c.job.Workers))
	for _, t := range c.job.Tables {
		units, failures, err := t.Table.Plan(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			err = t.Table.RemoveLeftovers(units)
		}
		if err != nil {
			c.fail(fmt.Errorf("table %s: %w", t.Name, err))
		}
		for _, f := range failures {
			c.fail(fmt.Errorf("table %s, %s: %s", t.Name, f.Unit, f.Error))
		}
		for _, u := range units {
			u.Table = t.Name
			c.units++
			tasks.Go(func() error {
				if err := taskCtx.Err(); err != nil {
					return err
				}
				return c.unit(taskCtx, t.Table, u)
			})
		}
	}
	err := tasks.Wait()
	if err == nil {
		err = c.finish(ctx)
	}
	if ctx.Err() != nil {
		return schemas.Errorf(schemas.Cancelled, "the unflag was cancelled").WithHint("the same command, with the same id, completes it")
	}
	if err != nil {
		return err
	}
	if len(c.failed) > 0 {
		return schemas.Errorf(schemas.Partial, "the flags could not be cleared everywhere: %d of the units failed, the first: %w", len(c.failed), c.failed[0]).
			WithHint("mend it; then the same command, with the same id, completes the unflag")
	}
	return nil
}

// finish writes what the units of a table share.
func (c *clearing) finish(ctx context.Context) error {
	for _, t := range c.job.Tables {
		f, ok := t.Table.(Finisher)
		if !ok {
			continue
		}
		if err := c.workspace.fence.Check(); err != nil {
			return err
		}
		if err := f.Finish(ctx); err != nil {
			c.fail(fmt.Errorf("table %s: %w", t.Name, err))
		}
	}
	return nil
}

func (c *clearing) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, err)
}

// unit clears one unit. An error is one of the workspace; those of the unit
// leave the others alone.
func (c *clearing) unit(ctx context.Context, t Clearer, u schemas.Unit) error {
	if done, err := c.before(u); done || err != nil {
		return err
	}
	var ledgerErr error
	var asked atomic.Bool // for others
	receipt, err := t.Clear(ctx, u, c.match, func(cell []byte) bool {
		asked.Store(true)
		set, err := c.listed()
		if err != nil {
			return true
		}
		_, is := set.Since(cell)
		return is
	}, func(r schemas.Receipt) error {
		ledgerErr = c.record(schemas.EventUnflagIntent, r)
		return ledgerErr
	})
	if asked.Load() && ledgerErr == nil {
		_, ledgerErr = c.listed()
	}
	switch {
	case ledgerErr != nil:
		return ledgerErr
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		c.fail(fmt.Errorf("table %s, %s: %w", u.Table, u.Name, err))
		return nil
	case receipt.Confirmed != receipt.Flagged || receipt.NewlyFlagged != 0 || receipt.MovedEarlier != 0:
		return schemas.Errorf(schemas.Integrity, "table %s, %s: %d flags are left, but %d were read back", u.Table, u.Name, receipt.Flagged, receipt.Confirmed)
	case !receipt.Changed:
		return nil
	}
	return c.record(schemas.EventUnflagApplied, receipt)
}

// before records what an earlier attempt did to the unit just before it was
// cut short: the unit's version tells. done tells that there is nothing more to
// do.
func (c *clearing) before(u schemas.Unit) (done bool, err error) {
	c.mu.Lock()
	intent, intended := c.unflag.applied.intents[keyOf(u)]
	receipt, recorded := c.unflag.applied.receipts[keyOf(u)]
	c.mu.Unlock()
	if recorded {
		return receipt.VersionAfter == u.Version, nil
	}
	if !intended || intent.VersionAfter != u.Version {
		return false, nil
	}
	return true, c.record(schemas.EventUnflagApplied, intent)
}

func (c *clearing) match(cell []byte) bool {
	id, _, reason := c.job.Rules.Parse(cell)
	return reason == schemas.Valid && id == c.job.ID
}

// allListed loads all lists, which the id is off by now.
func (w *Workspace) allListed(ctx context.Context, rules schemas.Rules) (*idset.OptedOut, error) {
	set := idset.NewOptedOut(rules, int(w.list.Total+w.ownTotal()))
	if path := w.listPath(); path != "" {
		info, err := idset.LoadList(ctx, path, false, set)
		if err != nil {
			return nil, err
		}
		if err := sameList(path, info.Digest, w.list.Digest); err != nil {
			return nil, err
		}
	}
	return set, w.loadOwn(ctx, set)
}

func (c *clearing) record(typ schemas.EventType, r schemas.Receipt) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workspace.append("", typ, schemas.UnflagReceipt{Pseudonym: c.unflag.started.Pseudonym, Receipt: r})
}
