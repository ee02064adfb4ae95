package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) demoCommand() *cobra.Command {
	var dir string
	var rows int64
	var keep, noRun bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole job on generated data and the embedded operator",
		Long: "demo makes up a wide Parquet data set and an opt-out log, runs the job over them\n" +
			"with the embedded operator, and runs it again to show that nothing changes. It\n" +
			"needs no account and no network.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if rows < 1 {
				return schemas.Errorf(schemas.Usage, "--rows is %d, want at least 1", rows)
			}
			if dir == "" {
				if dir, err = os.MkdirTemp("", "optsweep-demo-"); err != nil {
					return err
				}
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			began := time.Now()
			set, err := wire.MakeDemo(cmd.Context(), a.system(), dir, rows)
			if err != nil {
				return err
			}
			if !keep {
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			}
			if a.output == "text" {
				fmt.Fprintf(a.Stdout, "made %s rows in %d files and an opt-out log of %s ids (%s)\n\n",
					report.Count(set.Truth.Rows), len(set.Truth.Files), report.Count(int64(len(set.Truth.OptOuts))), time.Since(began).Round(time.Millisecond))
			}
			if !noRun {
				if err := a.demoRuns(cmd, set); err != nil {
					return err
				}
			}
			if keep && a.output == "text" {
				a.printDemoFiles(dir)
			}
			return nil
		},
	}
	c.Flags().Int64Var(&rows, "rows", 1_000_000, "rows to make up")
	c.Flags().StringVar(&dir, "dir", "", "new folder for the files (default: one in the temporary folder)")
	c.Flags().BoolVar(&keep, "keep", true, "keep the files")
	c.Flags().BoolVar(&noRun, "no-run", false, "only make the files")
	return c
}

// demoRuns runs the job twice and checks both results against what is known
// about the generated data.
func (a *app) demoRuns(cmd *cobra.Command, set wire.DemoSet) error {
	for n, title := range []string{"first run", "second run: nothing may change"} {
		if a.output == "text" {
			fmt.Fprintf(a.Stdout, "== %s\n", title)
		}
		rep, err := wire.Run(cmd.Context(), a.system(), set.Job, wire.RunOptions{})
		if rep.Run != "" {
			if printErr := a.printReport(rep); err == nil {
				err = printErr
			}
		}
		if err != nil {
			return err
		}
		if err := set.Verify(rep); err != nil {
			return fmt.Errorf("the result is wrong: %w", err)
		}
		if changed := rep.Tables[0].UnitsChanged; n == 1 && changed > 0 {
			return fmt.Errorf("the second run changed %d files", changed)
		}
		if a.output == "text" {
			fmt.Fprintln(a.Stdout, "\nall figures are as generated")
			fmt.Fprintln(a.Stdout)
		}
	}
	return nil
}

func (a *app) printDemoFiles(dir string) {
	fmt.Fprintf(a.Stdout, "files:\n  %s\n  %s\n  %s\n\n", filepath.Join(dir, "data"), filepath.Join(dir, "optsweep.yaml"), filepath.Join(dir, "workspace"))
	fmt.Fprintf(a.Stdout, "a query to try, in DuckDB:\n  SELECT count(*), count(opted_out_since), max(opted_out_since) FROM '%s';\n", filepath.Join(dir, "data", "*.parquet"))
	fmt.Fprintf(a.Stdout, "the job:\n  optsweep run --config %s\n", filepath.Join(dir, "optsweep.yaml"))
}
