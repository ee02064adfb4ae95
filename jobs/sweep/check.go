package sweep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// answered is the receipt of one batch in the check journal. It holds raw ids.
type answered struct {
	Batch    int64      `json:"batch"` // from 0
	Count    int        `json:"count"`
	Digest   string     `json:"digest"` // SHA-256 of the batch's ids
	First    []byte     `json:"first"`  // its first and last id, in the order of idset
	Last     []byte     `json:"last"`
	AsOfMS   int64      `json:"as_of_ms"`
	OptedOut optOuts    `json:"opted_out,omitempty"`
	Rejected []rejected `json:"rejected,omitempty"`

	at time.Time // of the event
}

type rejected struct {
	Pseudonym string         `json:"id"`
	Raw       []byte         `json:"raw"` // the id
	Reason    schemas.Reason `json:"reason"`
}

// optOuts are records of 41 bytes: an id, then the time in Unix ms, big endian.
type optOuts []byte

const optOutSize = schemas.IDSize + 8

func newOptOuts(all []schemas.OptOut) optOuts {
	o := make(optOuts, 0, len(all)*optOutSize)
	for i := range all {
		o = append(o, all[i].ID[:]...)
		o = binary.BigEndian.AppendUint64(o, uint64(all[i].SinceMS))
	}
	return o
}

func (o optOuts) count() int { return len(o) / optOutSize }

// all gives each.
func (o optOuts) all() iter.Seq[schemas.OptOut] {
	return func(yield func(schemas.OptOut) bool) {
		for ; len(o) > 0; o = o[optOutSize:] {
			if !yield(schemas.OptOut{ID: schemas.ID(o), SinceMS: int64(binary.BigEndian.Uint64(o[schemas.IDSize:]))}) {
				return
			}
		}
	}
}

// check asks about every id that is not known as opted out yet. Batches follow
// from the sorted ids alone, so a resumed run finds the answers it has in the
// journal and asks for the others.
func (r *run) check(ctx context.Context) error {
	if r.checked != nil {
		return nil
	}
	began := r.now()
	canaries := 0
	if r.deps.Canaries != nil {
		var err error
		if canaries, err = r.deps.Canaries(ctx); err != nil {
			return err
		}
	}
	known, err := r.deps.Workspace.openKnown()
	if err != nil {
		return err
	}
	defer known.list.Close()
	c := &checker{run: r, done: map[int64]answered{}}
	c.journal, err = r.openJournal(checkLog, c.load)
	if err != nil {
		return err
	}
	defer c.journal.Close()
	result, err := c.askAll(ctx, known)
	if err != nil {
		return err
	}
	result.Canaries = canaries
	if r.deps.Retries != nil {
		result.Retries = r.deps.Retries()
	}
	result.Seconds = r.now().Sub(began).Seconds()
	result.Journal = c.journal.Head().Hash
	if err := r.writeRejected(ctx, c.done); err != nil {
		return err
	}
	if err := r.checkVerdicts(result); err != nil {
		return err
	}
	r.keepAnswers(c.done, result.OptedOut)
	r.checked = &result
	return r.append(schemas.EventChecked, result)
}

// keptOptOuts is how many new opt-outs are kept in memory after the check: 41 MB.
const keptOptOuts = 1_000_000

// keepAnswers spares the later phases reading the journal again, unless it holds
// so much that there would be less memory for them.
func (r *run) keepAnswers(done map[int64]answered, optedOut int64) {
	if optedOut > keptOptOuts {
		return
	}
	r.answers = make([]answered, 0, len(done))
	for _, n := range slices.Sorted(maps.Keys(done)) {
		r.answers = append(r.answers, done[n])
	}
}

// checker asks batches and keeps their receipts.
type checker struct {
	run     *run
	mu      sync.Mutex // of journal and done
	journal journal
	done    map[int64]answered
	stop    context.CancelCauseFunc // of all batches
}

func (c *checker) load(e schemas.Event) error {
	a, err := decodeAnswered(e)
	c.done[a.Batch] = a
	return err
}

func decodeAnswered(e schemas.Event) (a answered, err error) {
	if err = json.Unmarshal(e.Data, &a); err == nil && len(a.OptedOut)%optOutSize != 0 {
		err = errors.New("opted-out ids: not whole records")
	}
	a.at = e.Time
	return a, err
}

// askAll walks through the sorted ids and asks batch after batch. While one
// batch waits for its answer, the next is prepared and another read from disk.
func (c *checker) askAll(ctx context.Context, known *known) (schemas.Checked, error) {
	r := c.run
	result := schemas.Checked{Distinct: r.extracted.Distinct, Unverifiable: map[schemas.Reason]int64{}}
	reader, err := idset.OpenReader(r.path(shardsDir))
	if err != nil {
		return result, err
	}
	defer reader.Close()
	r.deps.Progress.Start("check", r.extracted.Distinct, "ids")
	defer r.deps.Progress.Stop()

	size, parallel := r.deps.Checker.Limits()
	stopCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.stop = stop
	tasks, askCtx := errgroup.WithContext(stopCtx)
	tasks.SetLimit(parallel + 1)
	batches := batcher{reader: reader, known: known, size: size, free: make(chan []schemas.ID, parallel+2)} // every batch there is fits
	var readErr error
	for n := int64(0); askCtx.Err() == nil; n++ {
		ids, skipped, err := batches.next()
		result.Known += int64(skipped)
		r.deps.Progress.Add(int64(skipped))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			readErr = err
			break
		}
		result.Asked += int64(len(ids))
		c.mu.Lock()
		a, ok := c.done[n]
		c.mu.Unlock()
		if ok {
			if a.Digest != digestOf(ids) || a.Count != len(ids) {
				readErr = schemas.Errorf(schemas.Integrity, "batch %d is not the one that was asked before", n).
					WithHint("the workspace was changed by hand; start over with a new run by changing nothing but removing the folder %s", r.dir)
				break
			}
			r.deps.Progress.Add(int64(len(ids)))
			batches.free <- ids
			continue
		}
		tasks.Go(func() error {
			err := c.ask(askCtx, n, ids)
			if err == nil {
				batches.free <- ids
			}
			return err
		})
	}
	err = errors.Join(readErr, tasks.Wait())
	if cause := context.Cause(stopCtx); cause != nil && ctx.Err() == nil {
		err = cause // the others only gave up because of it
	}
	if err != nil {
		return result, err
	}
	if err := ctx.Err(); err != nil {
		return result, err
	}
	if err := known.finish(); err != nil {
		return result, err
	}
	return result, c.sum(&result)
}

// ask asks one batch; its answer counts once the receipt is durable.
func (c *checker) ask(ctx context.Context, n int64, ids []schemas.ID) error {
	if err := ctx.Err(); err != nil {
		return err // another batch failed meanwhile
	}
	digest := digestOf(ids)
	return c.run.deps.Checker.Ask(ctx, ids, func(answer schemas.Answer) error {
		err := c.settle(n, digest, ids, answer)
		if err != nil {
			c.stop(err) // before another batch is asked
		}
		return err
	})
}

// settle makes the receipt of a batch durable.
func (c *checker) settle(n int64, digest string, ids []schemas.ID, answer schemas.Answer) error {
	a := answered{
		Batch: n, Count: len(ids), Digest: digest,
		First: bytes.Clone(ids[0][:]), Last: bytes.Clone(ids[len(ids)-1][:]), // or the receipt would keep all ids in memory
		AsOfMS: answer.AsOfMS, OptedOut: newOptOuts(answer.OptedOut),
	}
	for _, x := range answer.Rejected {
		a.Rejected = append(a.Rejected, rejected{Pseudonym: c.run.deps.Workspace.Pseudonyms.ID(x.ID), Raw: x.ID[:], Reason: x.Reason})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	event, err := c.journal.Append(c.run.id, schemas.EventBatchAnswered, a)
	if err != nil {
		return err
	}
	a.at = event.Time
	c.done[n] = a
	c.run.deps.Progress.Add(int64(len(ids)))
	return nil
}

// sum counts the verdicts of all receipts.
func (c *checker) sum(result *schemas.Checked) error {
	for _, a := range c.done {
		result.Batches++
		result.OptedOut += int64(a.OptedOut.count())
		result.Clear += int64(a.Count - a.OptedOut.count() - len(a.Rejected))
		for _, x := range a.Rejected {
			result.Unverifiable[x.Reason]++
		}
		if result.OldestMS == 0 || a.AsOfMS < result.OldestMS {
			result.OldestMS = a.AsOfMS
		}
		result.NewestMS = max(result.NewestMS, a.AsOfMS)
	}
	if result.Clear < 0 || result.Known+result.Asked != result.Distinct {
		return schemas.Errorf(schemas.Integrity, "%d distinct ids were extracted, %d are known and %d were asked", result.Distinct, result.Known, result.Asked)
	}
	return nil
}

// batcher cuts the sorted ids into batches, leaving out those known as opted
// out.
type batcher struct {
	reader *idset.Reader
	known  *known
	size   int
	free   chan []schemas.ID // batches that are done with
}

// next returns the next batch and how many known ids were left out before its
// end. With io.EOF there is none.
func (b *batcher) next() (ids []schemas.ID, skipped int, err error) {
	select {
	case ids = <-b.free:
		ids = ids[:0]
	default:
		ids = make([]schemas.ID, 0, b.size)
	}
	for len(ids) < b.size {
		more := ids[len(ids):b.size]
		n, err := b.reader.Next(more)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, skipped, err
		}
		kept, err := b.known.without(more[:n])
		if err != nil {
			return nil, skipped, err
		}
		ids = ids[:len(ids)+kept]
		skipped += n - kept
	}
	if len(ids) == 0 {
		return nil, skipped, io.EOF
	}
	return ids, skipped, nil
}

func digestOf(ids []schemas.ID) string {
	h := sha256.New()
	buf := make([]byte, 0, 256*schemas.IDSize) // hashing 33 bytes at a time costs more than twice as much
	for part := range slices.Chunk(ids, 256) {
		buf = buf[:0]
		for i := range part {
			buf = append(buf, part[i][:]...)
		}
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil))
}
