package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
)

func (a *app) publishCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "publish",
		Short: "Put what the runs did into run tables: Parquet files or BigQuery",
		Long: "publish puts every run of the job that has ended into the tables optsweep_runs,\n" +
			"optsweep_tables, optsweep_batches, optsweep_quarantine and optsweep_optouts,\n" +
			"unless it is there:\n" +
			"  --out DIR, or run_tables.parquet of the job file: as Parquet files, one for each\n" +
			"            run and table, DIR/optsweep_runs/JOB_RUN.parquet and so on; that of\n" +
			"            optsweep_runs comes last\n" +
			"  bigquery.runs of the job file: in that dataset, all rows of a run at once\n" +
			"With --out nothing is sent to BigQuery. Where the job file names a place, each run\n" +
			"publishes at its end; the command makes up for one that could not. The rows hold\n" +
			"no ids, only pseudonyms. purge removes nothing that was published.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			done, err := wire.Publish(cmd.Context(), a.system(), job, out)
			if err != nil {
				return err
			}
			if a.output == "json" {
				total := struct {
					wire.Published
					Places []wire.Published `json:"places"`
				}{Places: done}
				for _, p := range done {
					total.Runs += p.Runs
					total.Dataset, total.Folder = total.Dataset+p.Dataset, total.Folder+p.Folder
				}
				return a.printJSON(total)
			}
			for _, p := range done {
				_, lineErr := fmt.Fprintf(a.Stdout, "published %s in %s\n", many(p.Runs, "run"), p.Dataset+p.Folder)
				err = errors.Join(err, lineErr)
			}
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to write Parquet files into, in place of where the job file says")
	return c
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", count(n), what)
}
