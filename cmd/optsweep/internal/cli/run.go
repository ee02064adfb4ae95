package cli

import (
	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) runCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Reconcile all tables of the job",
		Long: "run takes the ids out of all tables, asks the operator about each distinct id\n" +
			"once, and writes opted_out_since back. A run that was killed or cancelled is\n" +
			"taken up again by the same command.\n\n" + exitCodeHelp(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			rep, err := wire.Run(cmd.Context(), a.system(), job, dryRun)
			if rep.Run == "" {
				return err
			}
			if printErr := a.printReport(rep); err == nil {
				err = printErr
			}
			return err
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "do everything but write to tables and to the suppression list")
	return c
}

func (a *app) printReport(rep schemas.Report) error {
	if a.output == "json" {
		return a.printJSON(rep)
	}
	return report.WriteText(a.Stdout, rep)
}
