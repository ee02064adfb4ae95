package wire

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"optsweep/cmd/optsweep/internal/page"
	"optsweep/connectors/operator"
	"optsweep/jobs/config"
	"optsweep/jobs/daemon"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// ScheduleOptions say what a daemon schedules and serves.
type ScheduleOptions struct {
	Configs []string        // job files and folders of them
	Listen  string          // address of the status page, with /metrics; empty: none
	Spare   bool            // without the page if its port is taken
	Reload  <-chan struct{} // the files are read again; nil: never
}

// Schedule runs jobs on their schedules until ctx is done. Then it stops the
// runs under way, which can be taken up again. listening is called once with
// the address of the page.
func Schedule(ctx context.Context, s System, o ScheduleOptions, listening func(address string)) error {
	files, err := JobFiles(o.Configs)
	if err != nil {
		return err
	}
	jobs, problems := loadRunnable(files)
	if err := problems.Err(); err != nil {
		return err
	}
	d := daemon.New(daemon.Options{
		Now: s.Now, After: time.After, Log: s.Log,
		Owner: func(job string) ledger.Owner { return s.owner(&config.Job{Name: job}) },
	})
	s.Metrics = NewMetrics()
	handler, err := page.New(page.Options{Source: d, Version: Version(), Metrics: s.Metrics.Handler(), Report: func(job string) (schemas.Compliance, error) {
		return Compliance(s, d.Workspace(job), ComplianceOptions{Since: s.Now().AddDate(0, 0, -30)})
	}})
	if err != nil {
		return err
	}
	l, err := openPage(s, o)
	if err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	if l != nil {
		listening(l.Addr().String())
		background.Go(func() {
			if err := page.Serve(work, l, handler, s.Log); err != nil {
				s.Log.Error("the status page is not served any more", "error", err)
			}
		})
	}
	s.memory = new(memory)
	d.Load(s.scheduled(jobs), nil)
	background.Go(func() {
		for {
			select {
			case <-o.Reload:
				s.reload(d, o.Configs)
			case <-work.Done():
				return
			}
		}
	})
	return d.Run(ctx)
}

// loadRunnable is LoadScheduled for jobs that also have a workspace.
func loadRunnable(files []string) ([]*config.Job, FileProblems) {
	jobs, problems := LoadScheduled(files)
	return slices.DeleteFunc(jobs, func(job *config.Job) bool {
		layout := sweep.Layout(job.Workspace)
		err := layout.Check()
		if err == nil {
			// Of what may be wrong with a ledger each run tells; but no run can
			// go on with that of a newer version.
			if _, readErr := ledger.Read(layout.Ledger(), nil); schemas.ClassOf(readErr) == schemas.Usage {
				err = readErr
			}
		}
		if err != nil {
			problems[job.File] = err
		}
		return err != nil
	}), problems
}

// openPage opens the port of the status page, or none.
func openPage(s System, o ScheduleOptions) (net.Listener, error) {
	if o.Listen == "" {
		return nil, nil
	}
	l, err := page.Listen(o.Listen)
	if err != nil {
		if !o.Spare {
			return nil, err
		}
		s.Log.Warn("there is no status page", "error", err, "hint", schemas.HintOf(err))
		return nil, nil
	}
	if !page.Loopback(l) {
		s.Log.Warn("the status page has no password, and other machines can reach it", "address", l.Addr().String())
	}
	return l, nil
}

// reload reads the job files again. A bad one leaves its job as it is.
func (s System) reload(d *daemon.Daemon, configs []string) {
	s.Log.Info("reading the job files again")
	var files []string
	for _, name := range configs {
		found, err := JobFiles([]string{name})
		if err != nil {
			s.Log.Warn("nothing to schedule there", "config", name, "error", err)
		}
		files = append(files, found...)
	}
	jobs, problems := loadRunnable(files)
	d.Load(s.scheduled(jobs), problems)
}

func (s System) scheduled(jobs []*config.Job) (list []daemon.Job) {
	for _, job := range jobs {
		list = append(list, daemon.Job{
			Name: job.Name, File: job.File, Workspace: job.Workspace, Schedule: *job.Schedule, Limits: shownLimits(job.Limits),
			Exclusive: func() []string { return s.exclusive(job) },
			Run: func(ctx context.Context, fire time.Time, p sweep.Progress) (schemas.Report, error) {
				own := s
				own.Progress, own.Log = p, s.Log.With("schedule", job.Name)
				return Run(ctx, own, job, RunOptions{Scheduled: fire})
			},
			Missed: func(ctx context.Context, f schemas.SkippedFires) {
				why := f.Reason
				if f.Count > 1 {
					why = fmt.Sprintf("%s; %d fires since %s", f.Reason, f.Count, f.First.UTC().Format(time.RFC3339))
				}
				TellMissed(ctx, s, job, f.Last, why)
			},
		})
	}
	return list
}

// exclusive names what only one run may use at a time.
func (s System) exclusive(job *config.Job) []string {
	folder := job.Workspace
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	uses := []string{"workspace " + folder}
	if job.Operator.Kind == config.Embedded {
		return uses
	}
	quiet := s
	quiet.Log = slog.New(slog.DiscardHandler) // the run itself warns
	key, err := resolve(quiet, job.Operator.APIKey)
	if err != nil {
		return append(uses, fmt.Sprintf("key of %+v", job.Operator.APIKey)) // which says where it is
	}
	return append(uses, "key "+operator.KeyFingerprint(key))
}

func shownLimits(l config.Limits) []daemon.Limit {
	zeroHits := "stop"
	if l.AllowZeroHits {
		zeroHits = "allow"
	}
	return []daemon.Limit{
		{Name: "max_new_flags", Value: l.MaxNewFlags.String()}, {Name: "max_quarantined", Value: l.MaxQuarantined.String()},
		{Name: "max_row_drop", Value: l.MaxRowDrop.String()}, {Name: "zero_hits", Value: zeroHits},
		{Name: "max_duration", Value: ShortSpan(l.MaxDuration)}, {Name: "memory", Value: fmt.Sprintf("%d MiB", l.MemoryBytes>>20)},
	}
}

var _ page.Source = (*daemon.Daemon)(nil)
