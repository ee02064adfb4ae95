package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/signing"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// workspaceFlag adds --workspace to a command that needs no job file with it.
func workspaceFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "workspace", "", "folder of the workspace (default: the one of the job file)")
}

// workspaceDir is the folder that --workspace names, or that of the job.
func (a *app) workspaceDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	job, err := a.loadJob()
	if err != nil {
		return "", err
	}
	return job.Workspace, nil
}

// reportFlags are those of the report command.
type reportFlags struct {
	dir, run, format, out, pack, since, until, keyFile, slo string
	tables                                                  []string
}

func (a *app) reportCommand() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report",
		Short: "Show the report of a run, or one for compliance, or make an evidence pack",
		Long: "report builds the report of a run out of the ledger alone; it also works while a\n" +
			"run is under way.\n\n" +
			"With --format csv or html, and with --since, --until, --table or --slo, it is a\n" +
			"compliance report: of one run, or of all runs that were started in a period. It\n" +
			"tells what was checked, what was not and why, and how long opted-out people\n" +
			"waited for their flags. html is one page for screen and paper, with a place to\n" +
			"sign. csv has one row for each run and table; report columns lists its columns.\n" +
			"With --slo the exit code is 7 if somebody waited longer, if an opted-out id is\n" +
			"known and not flagged, or if that cannot be shown; the report is written anyway.\n\n" +
			"With --evidence it writes a signed zip file for an auditor, about one run or\n" +
			"about all that were started in a period. No report holds ids. For queries over\n" +
			"all runs see: optsweep publish.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.report(cmd, f) },
	}
	s := c.Flags()
	workspaceFlag(c, &f.dir)
	s.StringVar(&f.run, "run", "", "id of the run (default: the last one; for --evidence the last that has ended)")
	s.StringVar(&f.format, "format", "", "text, json, csv or html (default: that of --output)")
	s.StringVar(&f.out, "out", "", "file to write the report to (default: standard output)")
	s.StringVar(&f.since, "since", "", "first day (2026-05-01), time (RFC 3339), or age (30d) of the runs, UTC")
	s.StringVar(&f.until, "until", "", "last day, or the time or age before which the runs were started")
	s.StringSliceVar(&f.tables, "table", nil, "only this table (repeatable; default: all)")
	s.StringVar(&f.slo, "slo", "", "time to honour that must be met: 24h, 7d, 90m")
	s.StringVar(&f.pack, "evidence", "", "zip file to write an evidence pack to")
	s.StringVar(&f.keyFile, "signing-key", "", "ed25519 private key, PEM (PKCS #8), to sign with (default: that of the workspace)")
	c.AddCommand(a.reportColumnsCommand())
	return c
}

func (a *app) report(cmd *cobra.Command, f reportFlags) error {
	if f.format == "" {
		f.format = a.output
	}
	if !slices.Contains([]string{"text", "json", "csv", "html"}, f.format) {
		return schemas.Errorf(schemas.Usage, "--format is %q, want one of: text json csv html", f.format)
	}
	if f.run != "" && (f.since != "" || f.until != "") {
		return schemas.Errorf(schemas.Usage, "name either --run or a period")
	}
	if f.keyFile != "" && f.pack == "" {
		return schemas.Errorf(schemas.Usage, "--signing-key is for --evidence")
	}
	if f.pack != "" {
		return a.evidence(cmd, f)
	}
	if f.format == "csv" || f.format == "html" || f.since+f.until+f.slo != "" || len(f.tables) > 0 {
		return a.compliance(f)
	}
	dir, err := a.workspaceDir(f.dir)
	if err != nil {
		return err
	}
	return a.showReport(dir, f.run, f.format, f.out)
}

// evidence makes an evidence pack.
func (a *app) evidence(cmd *cobra.Command, f reportFlags) error {
	if f.out != "" || f.slo != "" || len(f.tables) > 0 {
		return schemas.Errorf(schemas.Usage, "--out, --slo and --table are for reports; --evidence names the file of the pack")
	}
	since, until, err := period(time.Now(), f.since, f.until)
	if err != nil {
		return err
	}
	dir, err := a.workspaceDir(f.dir)
	if err != nil {
		return err
	}
	m, err := wire.MakeEvidence(cmd.Context(), a.system(), dir, f.pack, wire.EvidenceOptions{Run: f.run, KeyFile: f.keyFile, Since: since, Until: until})
	if err != nil {
		return err
	}
	return a.printEvidence(f.pack, m)
}

// period reads --since and --until: days, times or ages.
func period(now time.Time, since, until string) (from, to time.Time, err error) {
	of := func(flag, text string, offset time.Duration) (time.Time, error) {
		if age.MatchString(text) {
			return before(now.UTC(), flag, text)
		}
		return parseDay(flag, text, offset)
	}
	if from, err = of("--since", since, 0); err != nil {
		return from, to, err
	}
	if to, err = of("--until", until, 24*time.Hour); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		err = schemas.Errorf(schemas.Usage, "--since is not before --until")
	}
	return from, to, err
}

// parseDay reads a day or a time; of a day it gives the start plus offset.
func parseDay(flag, text string, offset time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.Add(offset), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, schemas.Errorf(schemas.Usage, "%s is %q, want a day like 2026-05-01 or a time like 2026-05-01T12:00:00Z", flag, text)
	}
	return t.UTC(), nil
}

// showReport shows the report of a run, or of the last one.
func (a *app) showReport(dir, run, format, out string) error {
	var found schemas.Report
	end, err := wire.Reports(dir, func(r schemas.Report) error {
		if run == "" || r.Run == run {
			found = r
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case found.Run == "" && run != "":
		return sweep.NoSuchRun(run, end)
	case found.Run == "":
		return schemas.Errorf(schemas.Usage, "there was no run yet")
	}
	write := func(w io.Writer) error { return report.WriteText(w, found) }
	if format == "json" {
		write = func(w io.Writer) error {
			data, err := report.Marshal(found)
			if err != nil {
				return err
			}
			_, err = w.Write(data)
			return err
		}
	}
	if out != "" {
		return wire.WriteWhole(out, write)
	}
	return write(a.Stdout)
}

func (a *app) printEvidence(pack string, m schemas.EvidenceManifest) error {
	if a.output == "json" {
		return a.printJSON(struct {
			Pack     string                   `json:"pack"`
			Manifest schemas.EvidenceManifest `json:"manifest"`
		}{pack, m})
	}
	_, err := fmt.Fprintf(a.Stdout, "wrote %s: %d run(s), events %d to %d of the ledger\nsigned with key %s\nverify it anywhere with: optsweep verify %s --public-key %s\n",
		pack, len(m.Runs), m.Ledger.Before.Seq+1, m.Ledger.Last.Seq, signing.Show(m.Signer), filepath.Base(pack), signing.Show(m.Signer))
	return err
}

// runRow is one line of the list of runs.
type runRow struct {
	Run         string    `json:"run"`
	StartedAt   time.Time `json:"started_at"`
	Status      string    `json:"status"`
	DryRun      bool      `json:"dry_run"`
	Rows        int64     `json:"rows"`
	RowsFlagged int64     `json:"rows_new"`
	Failures    int       `json:"failures"`
}

func (a *app) runsCommand() *cobra.Command {
	var dir string
	list := &cobra.Command{
		Use:   "runs",
		Short: "List the runs of the workspace",
		Long:  "runs lists all runs that the ledger knows, the oldest first, and says if retention\nhas removed earlier ones. It works while a run is under way. For queries over all\nruns see: optsweep publish.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.workspaceDir(dir)
			if err != nil {
				return err
			}
			rows := []runRow{}
			end, err := wire.Reports(dir, func(r schemas.Report) error {
				row := runRow{Run: r.Run, StartedAt: r.StartedAt, Status: r.Status, DryRun: r.DryRun, Failures: len(r.Failures)}
				for _, t := range r.Tables {
					row.Rows += t.Rows
					row.RowsFlagged += t.RowsNew
				}
				rows = append(rows, row)
				return nil
			})
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(rows)
			}
			return errors.Join(a.printRuns(rows), a.printRemoved(end))
		},
	}
	workspaceFlag(list, &dir)
	var showDir string
	show := &cobra.Command{
		Use:   "show RUN",
		Short: "Show the report of a run",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := a.workspaceDir(showDir)
			if err != nil {
				return err
			}
			return a.showReport(dir, args[0], a.output, "")
		},
	}
	workspaceFlag(show, &showDir)
	list.AddCommand(show)
	return list
}

// printRemoved says which runs retention has removed from the ledger.
func (a *app) printRemoved(end ledger.End) error {
	if end.Cut == nil {
		return nil
	}
	_, err := fmt.Fprintf(a.Stdout, "earlier runs, until %s, were removed by retention at %s\n",
		end.Cut.Until.Format(time.RFC3339), end.Cut.At.Format(time.RFC3339))
	return err
}

func (a *app) printRuns(rows []runRow) error {
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(t, "run\tstarted\tstatus\trows\tnewly flagged\tfailures")
	for _, r := range rows {
		status := r.Status
		if r.DryRun && status != schemas.StatusPreviewed {
			status += " (dry run)"
		}
		_, lineErr := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", r.Run, r.StartedAt.UTC().Format(time.DateTime), status,
			report.Count(r.Rows), report.Count(r.RowsFlagged), r.Failures)
		err = errors.Join(err, lineErr)
	}
	return errors.Join(err, t.Flush())
}
