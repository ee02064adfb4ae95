package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
)

func (a *app) publishCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "publish",
		Short: "Put what the runs did into the run tables of BigQuery",
		Long: "publish puts every run of the job that has ended into the tables optsweep_runs,\n" +
			"optsweep_tables, optsweep_batches, optsweep_quarantine and optsweep_optouts of the\n" +
			"dataset bigquery.runs, all rows of a run at once, unless they are there. Each run\n" +
			"does so at its end; the command makes up for one that could not. The rows hold no\n" +
			"ids, only pseudonyms.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			runs, err := wire.Publish(cmd.Context(), a.system(), job)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(struct {
					Published int    `json:"published_runs"`
					Dataset   string `json:"dataset"`
				}{runs, job.BigQuery.Runs})
			}
			_, err = fmt.Fprintf(a.Stdout, "published %s in %s\n", many(runs, "run"), job.BigQuery.Runs)
			return err
		},
	}
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", count(n), what)
}
