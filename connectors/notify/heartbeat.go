// Package notify tells people and their tools about runs: a dead man's switch
// that is told of every run, and messages about what somebody wants to know. No
// message holds an id.
package notify

import (
	"context"
	"net/url"
	"strings"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

// Heartbeat is a dead man's switch in the style of healthchecks.io: it raises
// the alarm if it hears of a failure, or nothing in time.
type Heartbeat struct {
	URL    schemas.Secret // success; may be zero
	Start  schemas.Secret // zero: URL/start
	Fail   schemas.Secret // zero: URL/fail
	Method string         // GET or POST
	Sender *delivery.Sender
}

// Started tells that a run has started which may end in success.
func (h Heartbeat) Started(ctx context.Context, s schemas.RunStart) error {
	if s.Offline {
		return nil
	}
	return h.ping(ctx, h.Start, "start")
}

// Ended tells of success only if everything was checked and written, and of
// every failure. It keeps silent about a run that was cancelled, one that
// another run kept from starting, and one that asked nobody: the switch waits
// on.
func (h Heartbeat) Ended(ctx context.Context, e schemas.RunEnd) error {
	switch {
	case e.Class == schemas.Cancelled.String() || e.Class == schemas.Locked.String():
		return nil
	case e.Class != "":
		return h.ping(ctx, h.Fail, "fail")
	case e.Report.Status == schemas.StatusReconciled:
		return h.ping(ctx, h.URL, "")
	default:
		return nil
	}
}

func (h Heartbeat) ping(ctx context.Context, to schemas.Secret, below string) error {
	if to.IsZero() {
		if h.URL.IsZero() {
			return nil
		}
		u, err := url.Parse(h.URL.Reveal())
		if err != nil {
			return err
		}
		u.Path = strings.TrimRight(u.Path, "/") + "/" + below
		to = schemas.NewSecret(u.String())
	}
	return h.Sender.Send(ctx, delivery.Message{Method: h.Method, URL: to})
}
