package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) gateCommand() *cobra.Command {
	var o wire.GateOptions
	var maxAge string
	c := &cobra.Command{
		Use:   "gate [FILE...]",
		Short: "Fail if a table holds opted-out rows without a flag, or was not checked lately",
		Long: "gate looks at the tables of the job, or only at the Parquet files that are named,\n" +
			"before they leave the house. Exit code 0 means: no row whose id is on the\n" +
			"suppression list, or on a list of your own, lacks its flag; and all was checked\n" +
			"within --max-age. Exit code 7 means that something is wrong, and what:\n" +
			"  - rows of opted-out ids whose flag is missing, NULL or later;\n" +
			"  - a table that no run reconciled within --max-age, or that has files which are\n" +
			"    new or changed since; of named files, ids that the last run did not see;\n" +
			"  - files that could not be read.\n\n" +
			"It needs no key, asks nobody, and does not wait for a run. With --ask it also asks\n" +
			"the operator, now, about all ids that no list knows, canaries first; what was not\n" +
			"checked lately is no reason to fail then. What it finds is told and kept nowhere:\n" +
			"only a run writes the suppression list and flags.\n\n" +
			"With --clean OUT it writes a copy of one Parquet file (or of a data set, into a\n" +
			"new folder) without the rows that are opted out or flagged. Those rows then do\n" +
			"not count against the gate; if anything else does, no copy is made.\n\n" +
			"The ids of a BigQuery table are staged to be compared, which BigQuery bills for.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			from, err := before(now, "--max-age", maxAge)
			if err != nil {
				return err
			}
			o.MaxAge, o.Files = now.Sub(from), args
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			result, err := wire.Gate(cmd.Context(), a.system(), job, o)
			if result.Tables == nil || err != nil && schemas.ClassOf(err) != schemas.Gate {
				return err
			}
			printErr := a.printGate(result)
			if err == nil {
				err = printErr
			}
			return err
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Tables, "table", nil, "table of the job (repeatable; default: all, unless files are named)")
	f.StringVar(&o.IDColumn, "id-column", "", "column with the id in the named files (default: that of the job's tables)")
	f.StringVar(&o.IDEncoding, "id-encoding", "", "how ids stand there: base64 or binary (default: as in the job's tables)")
	f.StringVar(&o.FlagColumn, "flag-column", "", "column with the flag in the named files (default: that of the job's tables)")
	f.StringVar(&maxAge, "max-age", "24h", "how long ago the last check may be: 12h, 7d")
	f.BoolVar(&o.Ask, "ask", false, "ask the operator about all ids that no list knows")
	f.StringVar(&o.Clean, "clean", "", "file, or new folder, for a copy without opted-out rows")
	return c
}

func (a *app) printGate(r schemas.GateResult) error {
	if a.output == "json" {
		return a.printJSON(r)
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "table\tfiles\trows\topted out\tflagged\twithout flag\tlast checked\tunchecked\t")
	var breaches int64
	stale := 0
	for _, x := range r.Tables {
		checked := "never"
		if !x.CheckedAt.IsZero() {
			checked = (time.Duration(x.AgeS) * time.Second).String() + " ago"
		}
		if r.Asked != nil {
			checked = "now"
		}
		unchecked := fmt.Sprintf("%d files", x.UncheckedUnits)
		if x.Given {
			unchecked = report.Count(x.UncheckedIDs) + " ids"
		}
		if r.Asked != nil {
			unchecked = "-"
		} else if x.Stale || x.UncheckedUnits > 0 || x.UncheckedIDs > 0 {
			stale++
		}
		breaches += x.Breaches
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Table, x.Units, report.Count(x.Rows), report.Count(x.OptedOut), report.Count(x.Flagged), report.Count(x.Breaches), checked, unchecked)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, x := range r.Tables {
		if x.Later > 0 {
			fmt.Fprintf(a.Stdout, "%s: %s of those without a flag have a later one\n", x.Table, report.Count(x.Later))
		}
		if e := x.Example; e != nil {
			fmt.Fprintf(a.Stdout, "%s: for example row %d of %s, %s\n", x.Table, e.Row, e.Unit, e.Pseudonym)
		}
		for _, f := range x.Failures {
			fmt.Fprintf(a.Stdout, "%s: %s could not be read: %s\n", x.Table, f.Unit, f.Error)
		}
	}
	if q := r.Asked; q != nil {
		fmt.Fprintf(a.Stdout, "asked about %s ids that no list knew: %s opted out, %s without a verdict; nothing of it is kept, the next run flags them\n",
			report.Count(q.IDs), report.Count(q.OptedOut), report.Count(q.Unverifiable))
	}
	if q := r.Clean; q != nil {
		for _, f := range q.Files {
			fmt.Fprintf(a.Stdout, "wrote %s: %s rows, without %s rows, sha256 %s\n", f.File, report.Count(f.Rows), report.Count(f.Removed), f.SHA256)
		}
	}
	_, err := fmt.Fprintf(a.Stdout, "%s opted-out, %d stale\n", report.Count(breaches), stale)
	return err
}
