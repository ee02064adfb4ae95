package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) planCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "plan",
		Short: "List what a run would treat and estimate how long it takes",
		Long: "plan lists the files of all tables with their versions, rows and bytes, estimates\n" +
			"the ids, batches, time and cost, and writes all that into a plan file. It reads no id,\n" +
			"needs no key, asks nobody, and starts no run. optsweep run --plan FILE treats\n" +
			"exactly what the plan lists, or refuses if anything has changed since. Exit code\n" +
			"3 means that some files could not be treated, 6 that a safety limit would stop\n" +
			"the run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			plan, err := wire.Plan(cmd.Context(), a.system(), job)
			if err != nil {
				return err
			}
			if err := wire.WritePlan(out, plan); err != nil {
				return err
			}
			if a.output == "json" {
				err = a.printJSON(plan)
			} else {
				err = a.printPlan(job, plan, out)
			}
			if err != nil {
				return err
			}
			return planProblem(plan)
		},
	}
	c.Flags().StringVar(&out, "out", "plan.json", "plan file to write")
	return c
}

// planProblem says what would keep a run from success.
func planProblem(plan schemas.Plan) error {
	for _, l := range plan.Limits {
		return schemas.Errorf(schemas.Limit, "a run would be stopped by a safety limit: %s is %s, allowed is %s", l.Limit, l.Figure, l.Allows).
			WithHint("find out why; if it is right: optsweep run --override %s", l.Limit)
	}
	failed := 0
	for _, t := range plan.Tables {
		failed += len(t.Failures)
	}
	if failed > 0 {
		return schemas.Errorf(schemas.Partial, "%d of the units could not be treated", failed)
	}
	return nil
}

func (a *app) printPlan(job *config.Job, plan schemas.Plan, path string) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "table\tunits\trows\tbytes\tfailed\t\n")
	for _, t := range plan.Tables {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", t.Table, count(len(t.Units)), report.Count(t.Rows), report.Count(t.Bytes), count(len(t.Failures)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	e := plan.Estimate
	w = tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	distinct := "at most: every row could hold another id"
	if e.DistinctBasis == schemas.BasisLastRun {
		distinct = "estimated: as many to a row as in the last run"
	}
	fmt.Fprintf(w, "\ndistinct ids\t%s\t(%s)\n", report.Count(e.DistinctIDs), distinct)
	fmt.Fprintf(w, "  known, not asked again\t%s\t(opted out in the last run)\n", report.Count(e.KnownIDs))
	fmt.Fprintf(w, "batches\t%s\t(of up to %s ids)\n", report.Count(e.Batches), count(e.BatchIDs))
	pace := "assumed: none was measured yet"
	if e.BatchBasis == schemas.BasisLastRun {
		pace = "measured in the last run"
	}
	fmt.Fprintf(w, "time to ask\t%s\t(%s each, %s)\n", seconds(e.CheckSeconds), seconds(e.BatchSeconds), pace)
	fmt.Fprintf(w, "bytes to write\t%s\t(%s new or changed since the last run)\n", report.Count(e.BytesChanged), files(e.UnitsChanged))
	fmt.Fprintf(w, "  at most\t%s\t(a file is written, whole, if a flag in it changes or a row leaves it)\n", report.Count(e.BytesMax))
	if e.ScanBytes > 0 || e.WriteBytesMax > 0 {
		fmt.Fprintf(w, "BigQuery bills for reading\t%s bytes\t(about $%.2f)\n", report.Count(e.ScanBytes), e.ScanUSD)
		fmt.Fprintf(w, "  and for writing at most\t%s bytes\t(about $%.2f, if every partition holds a flag that changes)\n", report.Count(e.WriteBytesMax), e.WriteUSDMax)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, line := range wire.Writes(job) {
		fmt.Fprintf(a.Stdout, "%s\n", line)
	}
	for _, t := range plan.Tables {
		for _, f := range t.Failures {
			fmt.Fprintf(a.Stdout, "\ncannot be treated: %s, %s: %s\n", f.Table, f.Unit, f.Error)
			if f.Hint != "" {
				fmt.Fprintf(a.Stdout, "  hint: %s\n", f.Hint)
			}
		}
	}
	_, err := fmt.Fprintf(a.Stdout, "\nwrote %s\nnext: optsweep run --plan %s\n", path, path)
	return err
}

func count(n int) string { return report.Count(int64(n)) }

func files(n int) string {
	if n == 1 {
		return "1 file is"
	}
	return count(n) + " files are"
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}
