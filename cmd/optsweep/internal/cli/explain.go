package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

const maxExplained = 1000

func (a *app) explainCommand(configs *[]string) *cobra.Command {
	var from string
	var next int
	c := &cobra.Command{
		Use:   "explain",
		Short: "Show when jobs will run, and what is odd about their schedules",
		Long: "explain lists the coming fires of each job, in UTC, on the clock of its time zone,\n" +
			"and with jitter. It says on which days of the coming year the clock is put\n" +
			"forward or back at such a time, and what happens then, and whether runs will meet.\n" +
			"It starts nothing.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if next < 1 || next > maxExplained {
				return schemas.Errorf(schemas.Usage, "--next is %d, want 1 to %d", next, maxExplained)
			}
			at := a.system().Now().UTC()
			if from != "" {
				var err error
				if at, err = parseDay("--from", from, 0); err != nil {
					return err
				}
			}
			jobs, err := a.loadScheduled(*configs)
			if err != nil {
				return err
			}
			explained := []wire.ScheduleExplained{}
			for _, job := range jobs {
				explained = append(explained, wire.Explain(job, at, next))
			}
			if a.output == "json" {
				return a.printJSON(explained)
			}
			for i, x := range explained {
				if i > 0 {
					fmt.Fprintln(a.Stdout)
				}
				err = errors.Join(err, printExplained(a.Stdout, x))
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "day (2026-05-01) or time (RFC 3339) to begin with (default: now)")
	f.IntVar(&next, "next", 5, "number of fires")
	return c
}

// loadScheduled reads the job files of the daemon. One bad file is an error.
func (a *app) loadScheduled(configs []string) ([]*config.Job, error) {
	files, err := wire.JobFiles(configs)
	if err != nil {
		return nil, err
	}
	jobs, problems := wire.LoadScheduled(files)
	return jobs, problems.Err()
}

func printExplained(w io.Writer, x wire.ScheduleExplained) error {
	span := func(seconds float64) string { return wire.ShortSpan(time.Duration(seconds * float64(time.Second))) }
	fmt.Fprintf(w, "job %s: %q in %s\noverlap %s, catch_up %s, grace %s, jitter %s, deadline %s\n\n", x.Job, x.Cron, x.Timezone,
		x.Overlap, x.CatchUp, span(x.GraceS), span(x.JitterS), span(x.DeadlineS))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "fire (UTC)\tlocal\tstarts (UTC)")
	for _, f := range x.Fires {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Fire.UTC().Format("Mon 2006-01-02 15:04"), f.Local.Format("Mon 2006-01-02 15:04 MST"), f.Starts.UTC().Format("2006-01-02 15:04:05"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range x.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, warning := range x.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	return nil
}
