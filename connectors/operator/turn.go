package operator

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
)

// turn is the right to have a batch in flight. It is handed on as soon as the
// operator has answered, so that the next request can travel while the answer
// is settled; but that request is held back before its end until then, so that
// the operator is not asked anything while an answer could still get lost.
type turn struct {
	settled chan struct{} // closed once the answer of this turn is settled
}

// newTurns makes n turns with nothing to settle.
func newTurns(n int) chan *turn {
	turns := make(chan *turn, n)
	for range n {
		t := &turn{settled: make(chan struct{})}
		close(t.settled)
		turns <- t
	}
	return turns
}

// acquire waits for a turn. It must be put back, or another one instead.
func (c *Client) acquire(ctx context.Context) (*turn, error) {
	select {
	case t := <-c.turns:
		if ctx.Err() != nil { // both were ready, and select chose this one
			c.turns <- t
			return nil, cancelled(ctx)
		}
		return t, nil
	case <-ctx.Done():
		return nil, cancelled(ctx)
	}
}

// requestBody is the body of a request, held back before its end until the
// turn before is settled. It notes when the transport is done with it: its
// bytes may be read until then, even after the answer is in.
type requestBody struct {
	rest   bytes.Reader
	ctx    context.Context
	before *turn
	closed atomic.Bool
}

// Len is the number of bytes that were not read yet.
func (b *requestBody) Len() int { return b.rest.Len() }

// Read reads all but the last byte at once.
func (b *requestBody) Read(p []byte) (int, error) {
	switch n := b.rest.Len(); {
	case n > 1:
		return b.rest.Read(p[:min(n-1, len(p))])
	case n == 0:
		return 0, io.EOF
	}
	select {
	case <-b.before.settled:
	case <-b.ctx.Done():
	}
	if err := b.ctx.Err(); err != nil { // such as that the answer could not be settled
		return 0, err
	}
	return b.rest.Read(p)
}

// Close notes that the transport is done.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}
