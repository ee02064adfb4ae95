package operator

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"optsweep/schemas"
)

// maxRejected is how many ids of one Check may be refused one by one. More is
// taken for a fault of the whole request: finding each costs a dozen requests.
const maxRejected = 64

// Check asks about ids. Every one of them ends up in the answer: in OptedOut
// (once, with its earliest time, sorted by id), in Rejected, or in neither,
// which means clear as of AsOfMS, the operator's own time of the first answer
// that was needed. Lists longer than one request may be are asked in several,
// one after the other.
//
// Check retries by itself. Its errors are final and of class Refused (key,
// secret, clock, address: something to fix first), Integrity (an answer that
// cannot be trusted), Failed (no answer within the deadline), Usage
// (credentials cannot be read) or Cancelled (ctx).
func (c *Client) Check(ctx context.Context, ids []schemas.ID) (answer schemas.Answer, err error) {
	err = c.Ask(ctx, ids, func(a schemas.Answer) error {
		answer = a
		return nil
	})
	return answer, err
}

// Ask is Check for someone who must not lose an answer: it hands the answer to
// settle, and asks nothing else in its place before settle has returned. An
// error of settle is passed on. Calling Ask for the next list meanwhile keeps
// the connection busy: its first request is ready while it waits for its turn,
// and travels, but for its end, while the answer before is settled.
func (c *Client) Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	if len(ids) == 0 {
		return settle(schemas.Answer{AsOfMS: c.opt.Now().UnixMilli()})
	}
	b := c.buffers.Get().(*batch)
	defer func() {
		if b.turn != nil {
			c.turns <- b.turn
		}
		b.ids, b.turn = nil, nil
		c.buffers.Put(b)
	}()

	answer := schemas.Answer{AsOfMS: math.MaxInt64}
	var retries int64
	accepted := false // the operator took some request of this call
	pending := [][]schemas.ID{ids}
	for len(pending) > 0 {
		part := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if limit := int(c.limit.Load()); len(part) > limit {
			pending = append(pending, part[limit:])
			part = part[:limit]
		}
		b.encode(part)
		if b.turn == nil {
			var err error
			if b.turn, err = c.acquire(ctx); err != nil {
				return err
			}
		}
		f := c.exchange(ctx, b, &answer, &retries)
		switch {
		case f == nil:
			accepted = true
		case f.class == tooLarge && len(part) > 1:
			c.shrink(len(part) / 2)
			pending = append(pending, part)
		case f.class == rejected && len(part) > 1:
			pending = append(pending, part[len(part)/2:], part[:len(part)/2])
		case f.class == rejected && len(answer.Rejected) < maxRejected:
			if !accepted {
				if err := c.control(ctx, b, f, &retries); err != nil {
					return err
				}
				accepted = true
			}
			answer.Rejected = append(answer.Rejected, schemas.Rejection{ID: part[0], Reason: schemas.OperatorRejected})
		case f.class == rejected:
			return schemas.Errorf(schemas.Refused, "more than %d ids of one batch refused: %w", maxRejected, f.err).
				WithHint("so many refusals are not about single ids: check that scope, environment and address belong together")
		default:
			return f.err
		}
	}
	answer.OptedOut = earliest(answer.OptedOut)
	answer.Rejected = distinct(answer.Rejected)
	c.count(func(s *Stats) {
		s.Batches++
		s.Rejected += int64(len(answer.Rejected))
		s.MostRetries = max(s.MostRetries, retries)
	})
	// The next list may be on its way now, but for its end.
	mine := &turn{settled: make(chan struct{})}
	defer close(mine.settled)
	c.turns <- mine
	b.turn = nil
	return settle(answer)
}

// control sends an empty batch, which every operator takes, to tell an id that
// the operator rejects from an operator that rejects everything. It leaves b
// in use by the empty batch.
func (c *Client) control(ctx context.Context, b *batch, single *failure, retries *int64) error {
	b.encode(nil)
	var ignored schemas.Answer
	f := c.exchange(ctx, b, &ignored, retries)
	switch {
	case f == nil:
		return nil
	case f.class == rejected:
		return single.err
	}
	return f.err
}

// shrink remembers that the operator takes no more than n ids at once.
func (c *Client) shrink(n int) {
	for {
		limit := c.limit.Load()
		if limit <= int64(n) {
			return
		}
		if c.limit.CompareAndSwap(limit, int64(n)) {
			c.opt.Logger.Info("operator takes smaller batches", "ids", n)
			return
		}
	}
}

// earliest sorts by id and keeps the earliest time of each.
func earliest(list []schemas.OptOut) []schemas.OptOut {
	order := func(a, b schemas.OptOut) int {
		return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.SinceMS, b.SinceMS))
	}
	if !slices.IsSortedFunc(list, order) {
		slices.SortFunc(list, order)
	}
	return slices.CompactFunc(list, func(a, b schemas.OptOut) bool { return a.ID == b.ID })
}

func distinct(list []schemas.Rejection) []schemas.Rejection {
	slices.SortFunc(list, func(a, b schemas.Rejection) int { return a.ID.Compare(b.ID) })
	return slices.Compact(list)
}

// exchange asks b until there is an answer, which it adds to answer, or a
// failure that repeating does not help. A failure of class tooLarge or
// rejected is about b's ids.
func (c *Client) exchange(ctx context.Context, b *batch, answer *schemas.Answer, retries *int64) *failure {
	k, err := c.keys.get(ctx)
	if err != nil {
		return &failure{class: fatal, err: err}
	}
	started := c.opt.Now()
	var waited time.Duration
	restamped, reread := false, false
	for attempts, waits := 1, 0; ; attempts++ {
		f := c.attempt(ctx, b, k, answer)
		switch {
		case f == nil:
			return nil
		case ctx.Err() != nil:
			return &failure{class: fatal, err: cancelled(ctx)}
		case f.class == restamp && !restamped:
			restamped = true
		case f.class == auth && !reread:
			reread = true
			fresh, err := c.keys.renew(ctx, k)
			if err != nil {
				return &failure{class: fatal, err: err}
			}
			if fresh == k {
				return f
			}
			c.opt.Logger.Info("API key or client secret changed, trying the new ones", "key", fresh.label())
			k = fresh
		case f.class == retry:
			wait, err := c.backoff(waits, f.after)
			if err != nil {
				return &failure{class: fatal, err: err}
			}
			waits++
			elapsed := max(waited, c.opt.Now().Sub(started))
			if elapsed+wait > c.opt.Deadline {
				return &failure{class: fatal, err: c.exhausted(f, attempts, elapsed)}
			}
			c.opt.Logger.Warn("operator gave no answer, will ask again", "cause", f.err, "attempt", attempts, "wait", wait.Round(time.Millisecond))
			waited += wait
			if err := c.opt.Sleep(ctx, wait); err != nil {
				return &failure{class: fatal, err: cmp.Or(cancelled(ctx), err)}
			}
		default:
			return f
		}
		*retries++
		c.count(func(s *Stats) { s.Retries++ })
	}
}

func (c *Client) exhausted(f *failure, attempts int, elapsed time.Duration) error {
	err := schemas.Errorf(schemas.Failed, "no answer from operator %s in %d attempts over %s: %w",
		c.base.Host, attempts, span(elapsed), f.err)
	if f.after > c.opt.Deadline {
		return err.WithHint("the operator asks to wait %s; the same command resumes where this run stopped", span(f.after))
	}
	return err.WithHint("the same command resumes where this run stopped, once the operator answers again")
}

// cancelled is the error of a ctx that is done, and nil for one that is not.
func cancelled(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return schemas.Errorf(schemas.Cancelled, "asking the operator was cancelled: %w", context.Cause(ctx))
}
