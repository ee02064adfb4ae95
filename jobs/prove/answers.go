package prove

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// asker finds out what the runs did about an id.
type asker struct {
	ctx       context.Context
	layout    sweep.Layout
	history   *history
	id        schemas.ID
	pseudonym string
	entry     *schemas.ProofListing
	gaps      []string
}

// listing finds the id on the suppression list in force, which must be the one
// that the ledger knows.
func (a *asker) listing() (*schemas.ProofListing, error) {
	if a.history.list.File == "" {
		return nil, nil
	}
	path := a.layout.List(a.history.list)
	var found *schemas.ProofListing
	digest, err := a.eachListed(path, func(e idset.Entry) {
		if e.ID == a.id {
			found = &schemas.ProofListing{SinceMS: e.SinceMS, FoundMS: e.FoundMS}
		}
	})
	if err != nil {
		return nil, err
	}
	if digest != a.history.list.Digest {
		return nil, schemas.Errorf(schemas.Integrity, "the suppression list %s is not the one that the ledger knows", path).
			WithHint("restore it from a copy of the workspace")
	}
	if found == nil {
		return nil, nil
	}
	a.entry = found
	return found, nil
}

// eachListed passes on every entry of a suppression list.
func (a *asker) eachListed(path string, use func(idset.Entry)) (digest string, err error) {
	list, err := idset.OpenList(path, false)
	if err != nil {
		return "", err
	}
	defer list.Close()
	buf := make([]idset.Entry, 1024)
	for {
		if err := a.ctx.Err(); err != nil {
			return "", err
		}
		n, err := list.Next(buf)
		if errors.Is(err, io.EOF) {
			return list.Digest(), nil
		}
		if err != nil {
			return "", err
		}
		for _, e := range buf[:n] {
			use(e)
		}
	}
}

// runs answers for every run of which something is left.
func (a *asker) runs() ([]schemas.ProofRun, error) {
	answers := []schemas.ProofRun{}
	var gone []*run
	for _, r := range a.history.runs {
		if err := a.ctx.Err(); err != nil {
			return nil, err
		}
		if !r.extracted {
			continue // it ended before there was anything to ask about
		}
		p, left, err := a.run(r)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", r.id, err)
		}
		if !left {
			gone = append(gone, r)
			continue
		}
		r.answer = p.Answer
		answers = append(answers, p)
	}
	a.foundBy()
	if len(gone) > 0 {
		a.gaps = append(a.gaps, fmt.Sprintf("%d runs from %s to %s: retention has removed their ids and answers, so whether they asked about this id cannot be told",
			len(gone), gone[0].started.Format("2006-01-02"), gone[len(gone)-1].started.Format("2006-01-02")))
	}
	return answers, nil
}

// foundBy finds the run that brought the id on the list: the one that was told
// so at the time that the list gives.
func (a *asker) foundBy() {
	if a.entry == nil {
		return
	}
	for _, r := range a.history.runs {
		c := r.checked
		if c == nil || r.dry || a.entry.FoundMS < c.OldestMS || c.NewestMS < a.entry.FoundMS {
			continue
		}
		if r.answer == "" && a.entry.Run == "" || r.answer == schemas.AnswerOptedOut {
			a.entry.Run = r.id
		}
		if r.answer == schemas.AnswerOptedOut {
			return
		}
	}
}

// run answers for one run; left is false if neither its ids nor its answers
// exist any more.
func (a *asker) run(r *run) (p schemas.ProofRun, left bool, err error) {
	p = schemas.ProofRun{Run: r.id, StartedAt: r.started, DryRun: r.dry, Answer: schemas.AnswerNotAsked}
	batch, journal, err := a.batch(r)
	if err != nil {
		return p, false, err
	}
	ids, err := idset.OpenReader(a.layout.Run(r.id, sweep.ShardsDir))
	if errors.Is(err, fs.ErrNotExist) {
		if batch != nil && a.fromReceipt(&p, batch) {
			p.Proven = journal
			return p, true, nil
		}
		p.Answer = schemas.AnswerNotProvable
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	defer ids.Close()
	_, has, err := find(ids, a.id)
	switch {
	case err != nil:
		return p, false, err
	case !has:
		p.Answer, p.Proven = schemas.AnswerNotInData, true
		return p, true, nil
	case batch == nil:
		p.Answer, p.Proven = a.withoutBatch(r, journal)
		return p, true, nil
	case a.fromReceipt(&p, batch):
		_, p.Proven, err = a.recompute(ids, batch)
	default:
		var asked bool
		if asked, p.Proven, err = a.recompute(ids, batch); asked {
			p.Answer, p.AsOfMS, p.Batch, p.Digest = schemas.AnswerClear, batch.AsOfMS, batch.Batch.Batch+1, batch.Digest
		} else {
			p.Answer = schemas.AnswerKnown
		}
	}
	p.Proven = p.Proven && journal
	return p, true, err
}

// withoutBatch says why no batch of a run whose data held the id covers it. A
// completed check has asked about every id but those known before.
func (a *asker) withoutBatch(r *run, journal bool) (answer string, proven bool) {
	switch {
	case r.checked == nil || r.checked.Unverifiable[schemas.NotAsked] > 0:
		return schemas.AnswerNotAsked, journal
	case journal:
		return schemas.AnswerKnown, true
	default:
		return schemas.AnswerNotProvable, false
	}
}

// batch finds the receipt that covers the id. journal tells whether the run's
// journal is the one that the ledger knows.
func (a *asker) batch(r *run) (found *sweep.AskedBatch, journal bool, err error) {
	end, err := ledger.Read(a.layout.Run(r.id, sweep.CheckJournal), func(e schemas.Event) error {
		b, err := sweep.ReadAskedBatch(e)
		if err == nil && b.Covers(a.id) {
			found = &b
		}
		return errors.Join(err, a.ctx.Err())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return found, r.checked != nil && end.Hash == r.checked.Journal, err
}

// fromReceipt takes the answer from a receipt that names the id.
func (a *asker) fromReceipt(p *schemas.ProofRun, b *sweep.AskedBatch) bool {
	for _, o := range b.OptedOut {
		if o.ID == a.id {
			p.Answer, p.SinceMS = schemas.AnswerOptedOut, o.SinceMS
		}
	}
	if reason, ok := b.Rejected[a.pseudonym]; ok {
		p.Answer, p.Reason = schemas.AnswerUnverifiable, reason
	}
	if p.Answer == schemas.AnswerNotAsked {
		return false
	}
	p.AsOfMS, p.Batch, p.Digest = b.AsOfMS, b.Batch.Batch+1, b.Digest
	return true
}

// recompute puts the ids of a batch together again, out of the run's ids and
// the suppression list, and compares their digest. It tells whether the id was
// among them, and whether the digest proves that.
func (a *asker) recompute(ids *idset.Reader, b *sweep.AskedBatch) (asked, proven bool, err error) {
	known, err := a.openKnown(b)
	if err != nil {
		return false, false, err
	}
	defer known.close()
	first, _, err := find(ids, b.First)
	if err != nil {
		return false, false, err
	}
	if err := ids.SeekTo(first); err != nil {
		return false, false, err
	}
	// Whether this id was left out, as one known before, is what the digest
	// has to tell.
	with, without := sha256.New(), sha256.New()
	buf := make([]schemas.ID, 1024)
	for last := false; !last; {
		n, err := ids.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err := errors.Join(err, a.ctx.Err()); err != nil {
			return false, false, err
		}
		for _, id := range buf[:n] {
			if last = idset.Compare(id, b.Last) > 0; last {
				break
			}
			left, err := known.has(id)
			if err != nil {
				return false, false, err
			}
			switch {
			case id == a.id:
				with.Write(id[:])
			case !left:
				with.Write(id[:])
				without.Write(id[:])
			}
		}
	}
	switch b.Digest {
	case hex.EncodeToString(with.Sum(nil)):
		return true, true, nil
	case hex.EncodeToString(without.Sum(nil)):
		return false, true, nil
	}
	return a.entry == nil || a.entry.FoundMS > b.AsOfMS, false, nil
}

// known walks through the ids that were on the suppression list when a batch
// was asked: found by then, by the operator's clock, and not by this batch.
type known struct {
	list    *idset.List // nil: there is none
	asOfMS  int64
	found   map[schemas.ID]bool // by the batch
	buf     []idset.Entry
	rest    []idset.Entry
	drained bool
}

func (a *asker) openKnown(b *sweep.AskedBatch) (*known, error) {
	k := &known{asOfMS: b.AsOfMS, found: map[schemas.ID]bool{}, buf: make([]idset.Entry, 1024)}
	for _, o := range b.OptedOut {
		k.found[o.ID] = true
	}
	if a.history.list.File == "" {
		return k, nil
	}
	var err error
	k.list, err = idset.OpenList(a.layout.List(a.history.list), false)
	return k, err
}

// has tells whether id was known. Ids must come in order.
func (k *known) has(id schemas.ID) (bool, error) {
	for k.list != nil && !k.drained {
		for ; len(k.rest) > 0; k.rest = k.rest[1:] {
			if c := idset.Compare(k.rest[0].ID, id); c == 0 {
				return k.rest[0].FoundMS <= k.asOfMS && !k.found[id], nil
			} else if c > 0 {
				return false, nil
			}
		}
		n, err := k.list.Next(k.buf)
		k.rest, k.drained = k.buf[:n], errors.Is(err, io.EOF)
		if err != nil && !k.drained {
			return false, err
		}
	}
	return false, nil
}

func (k *known) close() {
	if k.list != nil {
		k.list.Close()
	}
}

// find gives the ordinal of id in a sorted set, or of the first one behind it.
func find(ids *idset.Reader, id schemas.ID) (ordinal int64, has bool, err error) {
	var one [1]schemas.ID
	at := func(n int64) schemas.ID {
		if err == nil {
			err = ids.SeekTo(n)
		}
		if err == nil {
			_, err = ids.Next(one[:])
		}
		return one[0]
	}
	n := sort.Search(int(ids.Len()), func(i int) bool { return idset.Compare(at(int64(i)), id) >= 0 })
	if err != nil {
		return 0, false, err
	}
	has = int64(n) < ids.Len() && at(int64(n)) == id
	return int64(n), has, err
}
