package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// ownDir holds the own lists: one file for each import that changed one. The
// events of the ledger say which are in force.
var ownDir = filepath.Join(listDir, "sources")

// sourceName is how an own list may be called.
var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// maxSources bounds the own lists of a workspace: they are counted by bits.
const maxSources = 60

// operatorSource is what reports call the operator, so no list may.
const operatorSource = "operator"

// ownList is an own list in force, and which import has left it so.
type ownList struct {
	schemas.OwnList
	last schemas.OwnListImported // zero once retention has removed it
}

// rememberOwn keeps what is in force while the ledger is read.
func (w *Workspace) rememberOwn(e schemas.Event) error {
	var v struct {
		schemas.OwnListImported
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
	}
	if w.own == nil {
		w.own, w.removed = map[string]ownList{}, map[string]schemas.OwnListRemoved{}
	}
	switch e.Type {
	case schemas.EventOwnListImported:
		w.own[v.Source] = ownList{v.OwnList, v.OwnListImported}
		delete(w.removed, v.Source)
	case schemas.EventOwnListEdited:
		l := w.own[v.Source]
		l.File, l.Total, l.Digest = v.File, v.Total, v.Digest
		w.own[v.Source] = l
	case schemas.EventOwnListRemoved:
		delete(w.own, v.Source)
		var gone schemas.OwnListRemoved
		if err := json.Unmarshal(e.Data, &gone); err != nil {
			return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
		}
		w.removed[v.Source] = gone
	}
	return nil
}

// OwnLists are the own lists in force, in the order of their names.
func (w *Workspace) OwnLists() []schemas.OwnList {
	lists := make([]schemas.OwnList, 0, len(w.own))
	for _, source := range slices.Sorted(maps.Keys(w.own)) {
		lists = append(lists, w.own[source].OwnList)
	}
	return lists
}

// OwnImport is a file of opt-outs to be merged into an own list.
type OwnImport struct {
	Source, Basis    string
	FileDigest       string // SHA-256 of the file
	Reading          string // SHA-256 of how it is read
	User, Host, Tool string
	MaxBad           float64 // share of bad rows, from 0 to 1, above which nothing is imported; negative: no limit
	Override         bool    // let it past that limit
	Now              func() time.Time

	// Read passes on every row of the file: those with a valid id and a time,
	// and all others.
	Read func(ctx context.Context, valid func(id schemas.ID, sinceMS int64) error, bad func(row int64, reason schemas.Reason, cell []byte) error) error
}

// Check tells whether source and basis may be used.
func (i OwnImport) Check() error {
	switch {
	case !sourceName.MatchString(i.Source):
		return schemas.Errorf(schemas.Usage, "the name of a source is 1 to 63 of a to z, 0 to 9 and '-'").WithHint("for example: --source site-form")
	case i.Source == operatorSource:
		return schemas.Errorf(schemas.Usage, "no own source can be called %q", operatorSource).WithHint("choose another name")
	case strings.TrimSpace(i.Basis) == "":
		return schemas.Errorf(schemas.Usage, "--basis is empty").WithHint("say why these ids must not be used, for example: opt-out form of the site")
	}
	return CheckReason("--basis", i.Basis)
}

// ImportOwn merges a file into an own list: the union of both, of each id the
// earliest time. The ledger's event is the commit point. The same file read in
// the same way again changes nothing; again is then true.
func (w *Workspace) ImportOwn(ctx context.Context, i OwnImport) (done schemas.OwnListImported, again bool, err error) {
	if err := i.Check(); err != nil {
		return done, false, err
	}
	before, known := w.own[i.Source]
	if !known && len(w.own) >= maxSources {
		return done, false, schemas.Errorf(schemas.Usage, "there are %d own lists already", len(w.own)).WithHint("import into one of them, or remove one: optsweep suppress list")
	}
	if last := before.last; known && last.FileDigest == i.FileDigest && last.Reading == i.Reading && last.Basis == i.Basis && last.Digest == before.Digest {
		return last, true, w.pruneOwn()
	}
	if err := w.fence.Check(); err != nil {
		return done, false, err
	}
	if err := w.disk.MkdirAll(filepath.Join(w.dir, ownDir), 0o700); err != nil {
		return done, false, err
	}
	found := i.Now().UnixMilli()
	done = schemas.OwnListImported{
		OwnList:  schemas.OwnList{Source: i.Source, Basis: i.Basis, User: i.User, Host: i.Host, Tool: i.Tool, At: found},
		Previous: before.Digest, FileDigest: i.FileDigest, Reading: i.Reading, Malformed: map[schemas.Reason]int64{},
	}
	name := fmt.Sprintf("%s.%d", i.Source, w.ledger.Head().Seq+1)
	left := newLeftOut(w.disk, filepath.Join(w.dir, ownDir, name+".quarantine.csv"), w.Pseudonyms)
	defer left.discard()
	var entries []idset.Entry
	if err := i.Read(ctx, func(id schemas.ID, sinceMS int64) error {
		entries = append(entries, idset.Entry{ID: id, SinceMS: sinceMS, FoundMS: found})
		done.Rows++
		return nil
	}, func(row int64, reason schemas.Reason, cell []byte) error {
		done.Malformed[reason]++
		done.Rows++
		return left.add(row, reason, cell)
	}); err != nil {
		return done, false, err
	}
	done.Valid = int64(len(entries))
	if err := i.tooBad(&done); err != nil {
		return done, false, err
	}
	if err := w.mergeOwn(ctx, &done, entries, name); err != nil {
		return done, false, err
	}
	if err := w.publishLeftOut(&done, left); err != nil {
		return done, false, err
	}
	if err := w.append("", schemas.EventOwnListImported, done); err != nil {
		return done, false, err
	}
	return done, false, w.pruneOwn(before.OwnList)
}

// tooBad refuses a file that hardly looks like one of ids.
func (i OwnImport) tooBad(done *schemas.OwnListImported) error {
	bad := done.Rows - done.Valid
	if i.MaxBad < 0 || float64(bad) <= i.MaxBad*float64(done.Rows) {
		return nil
	}
	if i.Override {
		done.Overridden = true
		return nil
	}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(done.Malformed)) {
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, done.Malformed[reason]))
	}
	return schemas.Errorf(schemas.Limit, "nothing was imported: %d of %d rows hold no usable opt-out (%s), %s allows %s",
		bad, done.Rows, strings.Join(reasons, ", "), maxQuarantined, percent(i.MaxBad)).
		WithHint("check the columns and the unit of the time; if the file is right, import the good rows with --override %s", maxQuarantined)
}

// mergeOwn writes the list that is to come into force.
func (w *Workspace) mergeOwn(ctx context.Context, done *schemas.OwnListImported, entries []idset.Entry, name string) error {
	entries = idset.Distinct(entries)
	done.Distinct = int64(len(entries))
	done.Repeated = done.Valid - done.Distinct
	old, path := "", filepath.Join(w.dir, ownDir, name+".ids")
	if l, ok := w.own[done.Source]; ok {
		old = w.ownPath(l.OwnList)
	}
	info, err := idset.MergeList(ctx, idset.ListMerge{Disk: w.disk, Old: old, First: old == "", Additions: entries, New: path})
	if err != nil {
		return err
	}
	if err := sameOwn(done.Source, info.Previous, done.Previous); err != nil {
		return err
	}
	done.File, done.Total, done.Digest = filepath.ToSlash(filepath.Join(ownDir, name+".ids")), info.Total, info.Digest
	done.Added, done.Moved = info.Added, info.MovedEarlier
	done.Unchanged = done.Distinct - done.Added - done.Moved
	bad := int64(0)
	for _, n := range done.Malformed {
		bad += n
	}
	if done.Rows != done.Valid+bad || done.Unchanged < 0 {
		return schemas.Errorf(schemas.Integrity, "%d rows were read, %d are valid and %d are not; of %d distinct ids %d are added and %d moved",
			done.Rows, done.Valid, bad, done.Distinct, done.Added, done.Moved)
	}
	return nil
}

func (w *Workspace) publishLeftOut(done *schemas.OwnListImported, left *leftOut) error {
	if left.file == nil {
		return nil
	}
	if err := left.publish(); err != nil {
		return err
	}
	data, err := os.ReadFile(left.path)
	if err != nil {
		return err
	}
	done.Quarantine, done.QuarantineDigest = filepath.ToSlash(filepath.Join(ownDir, filepath.Base(left.path))), digestOfBytes(data)
	return nil
}

// OwnRemoval gives up an own list.
type OwnRemoval struct {
	Source, Reason, Ticket string
	User, Host, Tool       string
}

// RemoveOwn gives up an own list. It clears no flag: those that only this list
// justified stay until they are unflagged. Doing it again changes nothing;
// again is then true.
func (w *Workspace) RemoveOwn(r OwnRemoval) (done schemas.OwnListRemoved, again bool, err error) {
	l, ok := w.own[r.Source]
	done = schemas.OwnListRemoved{
		Source: r.Source, Basis: l.Basis, Total: l.Total, Digest: l.Digest, Reason: r.Reason, Ticket: r.Ticket, User: r.User, Host: r.Host, Tool: r.Tool,
	}
	switch gone, was := w.removed[r.Source]; {
	case ok:
	case was && gone.Reason == r.Reason && gone.Ticket == r.Ticket:
		return gone, true, w.pruneOwn()
	default:
		return done, false, w.noSuchSource()
	}
	if err := w.append("", schemas.EventOwnListRemoved, done); err != nil {
		return done, false, err
	}
	return done, false, w.pruneOwn()
}

func (w *Workspace) noSuchSource() error {
	err := schemas.Errorf(schemas.Usage, "there is no own list of that name")
	if len(w.own) == 0 {
		return err.WithHint("there are none yet; import one with: optsweep suppress import")
	}
	return err.WithHint("there are: %s", strings.Join(slices.Sorted(maps.Keys(w.own)), ", "))
}

// pruneOwn removes the files of own lists that are not in force, but for those
// of kept.
func (w *Workspace) pruneOwn(kept ...schemas.OwnList) error {
	if err := w.fence.Check(); err != nil {
		return err
	}
	dir := filepath.Join(w.dir, ownDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	needed := map[string]bool{}
	for _, l := range append(w.OwnLists(), kept...) {
		needed[l.File], needed[l.Quarantine] = true, true
	}
	for _, e := range entries {
		if needed[filepath.ToSlash(filepath.Join(ownDir, e.Name()))] {
			continue
		}
		if err := w.disk.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *Workspace) ownPath(l schemas.OwnList) string { return Layout(w.dir).OwnList(l) }

// OwnList is the path of an own list.
func (l Layout) OwnList(own schemas.OwnList) string {
	return filepath.Join(string(l), filepath.FromSlash(own.File))
}

// sameOwn checks that a list is the one that the ledger knows.
func sameOwn(source, digest, known string) error {
	if digest == known {
		return nil
	}
	return schemas.Errorf(schemas.Integrity, "the own suppression list %s is not the one that the ledger knows", source).
		WithHint("restore it from a copy of the workspace; without it, people who opted out would be forgotten")
}
