package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) runCommand() *cobra.Command {
	var o wire.RunOptions
	c := &cobra.Command{
		Use:   "run",
		Short: "Reconcile all tables of the job",
		Long: "run takes the ids out of all tables, asks the operator about each distinct id\n" +
			"once, and writes opted_out_since back. A run that was killed or cancelled is\n" +
			"taken up again by the same command. A run that a safety limit stopped goes on\n" +
			"if the command is repeated with --override LIMIT: " + strings.Join(wire.Overridable(), ", ") + ".\n" +
			"With --offline nobody is asked: what earlier runs found is applied again, and\n" +
			"every other id is unverifiable.\n\n" + exitCodeHelp(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, limit := range o.Override {
				if !slices.Contains(wire.Overridable(), limit) {
					return schemas.Errorf(schemas.Usage, "--override is %q, want one of: %s", limit, strings.Join(wire.Overridable(), ", ")).
						WithHint("a failed canary cannot be overridden; max_duration is for the job file")
				}
			}
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			var undelivered []schemas.Undelivered
			s := a.system()
			s.Undelivered = func(u schemas.Undelivered) { undelivered = append(undelivered, u) }
			rep, err := wire.Run(cmd.Context(), s, job, o)
			if rep.Run == "" {
				return err
			}
			if printErr := a.printRun(rep, undelivered); err == nil {
				err = printErr
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "do everything but write to tables and to the suppression list")
	f.BoolVar(&o.Offline, "offline", false, "ask nobody, apply what earlier runs found")
	f.StringVar(&o.PlanFile, "plan", "", "plan file to keep to; refused if anything has changed since it was made")
	f.StringSliceVar(&o.Override, "override", nil, "safety limit that this run is let past (repeatable)")
	return c
}

// printRun prints the report of a run, and in JSON also which messages about
// it did not arrive; the log has said so, too.
func (a *app) printRun(rep schemas.Report, undelivered []schemas.Undelivered) error {
	if a.output != "json" {
		return a.printReport(rep)
	}
	return a.printJSON(struct {
		schemas.Report
		Undelivered []schemas.Undelivered `json:"undelivered,omitempty"`
	}{rep, undelivered})
}

func (a *app) printReport(rep schemas.Report) error {
	if a.output == "json" {
		return a.printJSON(rep)
	}
	return report.WriteText(a.Stdout, rep)
}
