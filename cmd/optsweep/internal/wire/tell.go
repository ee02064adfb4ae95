package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/connectors/lineage"
	"optsweep/connectors/metrics"
	"optsweep/connectors/notify"
	"optsweep/connectors/operator"
	"optsweep/connectors/tracing"
	"optsweep/jobs/config"
	"optsweep/jobs/report"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// budgets are the time for messages about a run. None of it changes how the
// run ends.
type budgets struct {
	start    time.Duration // for messages about the start, beside the run
	end      time.Duration // after the run; that is how much longer it takes at the most
	messages time.Duration // of end: the rest is for the metrics, which count what did not arrive
	hurry    time.Duration // instead of end after a run that was cancelled: somebody waits
	delivery delivery.Options
}

func usual() budgets {
	return budgets{start: 15 * time.Second, end: 30 * time.Second, messages: 20 * time.Second, hurry: 5 * time.Second}
}

// runTold is a run that others are told about.
func runTold(ctx context.Context, s System, job *config.Job, o RunOptions, b budgets) (schemas.Report, error) {
	t := newTeller(s, job, o, b)
	s.Progress = t.stages
	rep, err := reconcile(ctx, s, job, o, t.begun(ctx))
	t.ended(ctx, rep, err)
	return rep, err
}

// observer is told about runs, in this order.
type observer interface {
	Started(context.Context, schemas.RunStart) error
	Ended(context.Context, schemas.RunEnd) error
}

var (
	_ observer = (*lineage.Emitter)(nil)
	_ observer = tracing.Exporter{}
	_ observer = notify.Heartbeat{}
	_ observer = notify.Receiver{}
)

// Metrics are the figures of runs, with a handler to be scraped.
type Metrics = metrics.Metrics

// NewMetrics makes Metrics for the runs of a process that goes on after them;
// see System.
func NewMetrics() *Metrics { return metrics.New() }

// Names of what is told, in logs and metrics.
const (
	sinkMetrics   = "metrics"
	sinkLineage   = "lineage"
	sinkTracing   = "tracing"
	sinkHeartbeat = "heartbeat"
	sinkNotify    = "notify"
)

// sink is an observer with a name.
type sink struct {
	name string
	observer
	started chan struct{} // closed once it was told of the start
}

// teller tells the world about one attempt at a run. Whatever happens to a
// message, the run does not notice.
type teller struct {
	s      System
	job    *config.Job
	layout sweep.Layout
	sender *delivery.Sender
	sinks  []*sink

	metrics *metrics.Metrics
	gateway schemas.Secret // zero: none

	start  schemas.RunStart
	stages *stages
	cancel context.CancelFunc // of messages about the start
	all    sync.WaitGroup

	budgets budgets

	mu     sync.Mutex
	failed []schemas.Undelivered
}

func newTeller(s System, job *config.Job, o RunOptions, b budgets) *teller {
	t := &teller{
		s: s, job: job, layout: sweep.Layout(job.Workspace), sender: delivery.New(b.delivery), metrics: s.Metrics, budgets: b,
		start: schemas.RunStart{
			At: s.Now(), Job: job.Name, ToolVersion: Version(), Scheduled: o.Scheduled, Offline: o.Offline, Tables: datasets(job),
		},
		stages: &stages{inner: s.Progress, now: s.Now},
	}
	if t.metrics == nil {
		t.metrics = metrics.New()
	}
	c := job.Signals
	if url, ok := t.address(sinkMetrics, c.Metrics.Pushgateway); ok {
		t.gateway = url
	}
	if l := c.Lineage; l.File != "" || !l.URL.IsZero() {
		url, ok := t.address(sinkLineage, l.URL)
		key, keyOK := t.secret(sinkLineage, l.APIKey)
		if !ok || !keyOK {
			url = schemas.Secret{} // the file gets the events
		}
		if l.File != "" || !url.IsZero() {
			t.add(sinkLineage, &untold{
				Emitter: lineage.New(lineage.Options{File: l.File, URL: url, APIKey: key, Namespace: l.Namespace, Sender: t.sender}),
				teller:  t,
			})
		}
	}
	if url, ok := t.address(sinkTracing, c.Tracing.Endpoint); ok {
		if value, ok := t.secret(sinkTracing, c.Tracing.Authorization); ok {
			t.add(sinkTracing, tracing.Exporter{Endpoint: url, Authorization: value, Sender: t.sender})
		}
	}
	t.addHeartbeat(c.Heartbeat)
	for _, n := range c.Notify {
		if r, ok := t.receiver(n); ok {
			t.add(sinkNotify, r)
		}
	}
	return t
}

func (t *teller) add(name string, o observer) {
	t.sinks = append(t.sinks, &sink{name: name, observer: o, started: make(chan struct{})})
}

func (t *teller) addHeartbeat(h config.Heartbeat) {
	if h == (config.Heartbeat{}) {
		return
	}
	out := notify.Heartbeat{Method: h.Method, Sender: t.sender}
	for _, x := range []struct {
		from config.Address
		to   *schemas.Secret
	}{{h.URL, &out.URL}, {h.Start, &out.Start}, {h.Fail, &out.Fail}} {
		url, ok := t.address(sinkHeartbeat, x.from)
		if !ok && !x.from.IsZero() {
			return // told without one of its URLs, a switch would say what is not so
		}
		*x.to = url
	}
	t.add(sinkHeartbeat, out)
}

func (t *teller) receiver(n config.Notify) (notify.Receiver, bool) {
	url, ok := t.address(sinkNotify, n.URL)
	secret, secretOK := t.secret(sinkNotify, n.Secret)
	return notify.Receiver{
		URL: url, Slack: n.Kind == config.Slack, Secret: secret, On: n.On, Sender: t.sender, Now: t.s.Now,
	}, ok && secretOK
}

// address resolves an address; ok is false if there is none, or it cannot be
// had, which is then a failure of that sink.
func (t *teller) address(name string, a config.Address) (url schemas.Secret, ok bool) {
	if a.IsZero() {
		return schemas.Secret{}, false
	}
	url, warning, err := a.Resolve(t.s.LookupEnv)
	return url, t.resolved(name, warning, err)
}

// secret is address for something that need not be there.
func (t *teller) secret(name string, ref config.SecretRef) (secret schemas.Secret, ok bool) {
	if ref == (config.SecretRef{}) {
		return schemas.Secret{}, true
	}
	secret, warning, err := ref.Resolve(t.s.LookupEnv)
	return secret, t.resolved(name, warning, err)
}

func (t *teller) resolved(name, warning string, err error) bool {
	if warning != "" {
		t.s.Log.Warn(warning)
	}
	t.fail(name, err)
	return err == nil
}

// fail records that a message did not arrive.
func (t *teller) fail(name string, err error) {
	if err == nil {
		return
	}
	u := schemas.Undelivered{Sink: name, Error: oneLine(err)}
	t.s.Log.Warn("a message about the run was not delivered; the run is not affected", "sink", u.Sink, "error", u.Error)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = append(t.failed, u)
}

// oneLine is what an error may show to the world.
func oneLine(err error) string {
	return string(schemas.Hide([]byte(strings.ReplaceAll(err.Error(), "\n", "; "))))
}

// tell calls f, whose panic is an error like any other.
func (t *teller) tell(name string, f func() error) {
	defer func() {
		if recover() != nil {
			t.fail(name, errors.New("the message could not be made"))
		}
	}()
	t.fail(name, f())
}

// begun tells that the run has begun, beside it.
func (t *teller) begun(ctx context.Context) func(sweep.Begun) {
	return func(b sweep.Begun) {
		t.start.Run, t.start.Attempt, t.start.At = b.Run, b.Attempt, t.s.Now()
		var err error
		if t.start.Workspace, err = t.layout.ID(); err != nil {
			t.fail(sinkLineage, err)
		}
		// Its own time: a message about the start is due even if the run is
		// cancelled at once.
		ctx, t.cancel = context.WithTimeout(context.WithoutCancel(ctx), t.budgets.start)
		start := t.start
		for _, x := range t.sinks {
			t.all.Go(func() {
				defer close(x.started)
				t.tell(x.name, func() error { return x.Started(ctx, start) })
			})
		}
	}
}

// ended tells how the run has ended, in the time that is left for it.
func (t *teller) ended(ctx context.Context, rep schemas.Report, err error) {
	defer t.close()
	if schemas.ClassOf(err) == schemas.Locked {
		return // the run that holds the lease will tell
	}
	budget := t.budgets.end
	if ctx.Err() != nil {
		ctx, budget = context.WithoutCancel(ctx), t.budgets.hurry
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	end := t.end(rep, err)
	messages, cancelMessages := context.WithTimeout(ctx, min(t.budgets.messages, budget))
	defer cancelMessages()
	began := t.start.Run != ""
	var sent sync.WaitGroup
	for _, x := range t.sinks {
		sent.Go(func() {
			if began {
				select {
				case <-x.started:
				case <-messages.Done():
				}
			}
			t.tell(x.name, func() error { return x.Ended(messages, end) })
		})
	}
	sent.Wait()
	t.settle()
	t.figures(ctx, end)
	if t.s.Undelivered != nil {
		for _, u := range t.failed {
			t.s.Undelivered(u)
		}
	}
}

// settle stops messages about the start that are still under way.
func (t *teller) settle() {
	if t.cancel != nil {
		t.cancel()
	}
	t.all.Wait()
}

func (t *teller) close() {
	t.settle()
	t.sender.Close()
}

// figures shows the metrics, after all else: they count what did not arrive.
func (t *teller) figures(ctx context.Context, end schemas.RunEnd) {
	c := t.job.Signals.Metrics
	t.metrics.Observe(end, t.failed)
	if !t.gateway.IsZero() {
		before := len(t.failed)
		t.tell(sinkMetrics, func() error { return t.metrics.Push(ctx, t.sender, t.gateway, t.job.Name, end.Past.Known) })
		if len(t.failed) > before {
			t.metrics.Undelivered(t.job.Name, sinkMetrics)
		}
	}
	if c.Textfile != "" {
		t.tell(sinkMetrics, func() error { return t.metrics.WriteTextfile(c.Textfile, t.job.Name) })
	}
}

// end is what there is to tell.
func (t *teller) end(rep schemas.Report, err error) schemas.RunEnd {
	e := schemas.RunEnd{RunStart: t.start, EndedAt: t.s.Now(), Report: rep, Stages: t.stages.list()}
	if err != nil {
		e.Class, e.Failure = schemas.ClassOf(err).String(), oneLine(err)
	}
	if t.shows() || len(t.job.Signals.Notify) > 0 {
		e.Past = t.past(rep.Run)
	}
	if t.shows() {
		e.Honour = t.honour(rep)
	}
	e.Notices = report.Notices(e, errors.Is(err, operator.ErrCanary))
	return e
}

// shows tells whether anybody sees the metrics.
func (t *teller) shows() bool {
	return t.s.Metrics != nil || t.job.Signals.Metrics != config.Metrics{}
}

// past is what the ledger knows of the job's other runs.
func (t *teller) past(run string) (p schemas.RunPast) {
	_, err := Reports(string(t.layout), func(r schemas.Report) error {
		if r.Job == t.job.Name && r.Run != run {
			report.AddPast(&p, r)
		}
		return nil
	})
	p.Known = err == nil
	return p
}

func (t *teller) honour(rep schemas.Report) *schemas.Honour {
	if rep.Status != schemas.StatusReconciled {
		return nil
	}
	since, err := t.layout.OptedOutSince(rep.Run)
	if err != nil {
		t.fail(sinkMetrics, fmt.Errorf("time to honour: %w", err))
		return nil
	}
	h := report.HonouredAt(rep.FinishedAt, since)
	return &h
}

// tellNotice tells those of the job's receivers who want to know of a notice,
// in the time that there is after a run. What did not arrive is logged and
// returned.
func tellNotice(ctx context.Context, s System, job *config.Job, n schemas.Notice) []schemas.Undelivered {
	ctx, cancel := context.WithTimeout(ctx, usual().end)
	defer cancel()
	t := &teller{s: s, job: job, sender: delivery.New(delivery.Options{})}
	defer t.sender.Close()
	for _, c := range job.Signals.Notify {
		if r, ok := t.receiver(c); ok {
			t.all.Go(func() { t.tell(sinkNotify, func() error { return r.Tell(ctx, []schemas.Notice{n}) }) })
		}
	}
	t.all.Wait()
	if s.Metrics != nil {
		for range t.failed {
			s.Metrics.Undelivered(job.Name, sinkNotify)
		}
	}
	return t.failed
}

// TellMissed tells that a run was due and did not start.
func TellMissed(ctx context.Context, s System, job *config.Job, due time.Time, why string) []schemas.Undelivered {
	return tellNotice(ctx, s, job, report.MissedNotice(job.Name, due, s.Now(), why))
}

// TellGate tells that a table did not pass the gate, because of that many rows.
func TellGate(ctx context.Context, s System, job *config.Job, table string, rows int64, why string) []schemas.Undelivered {
	return tellNotice(ctx, s, job, report.GateNotice(job.Name, table, rows, s.Now(), why))
}
