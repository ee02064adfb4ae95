package cli

import (
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

// flagsStay is what users must know of a removed source.
const flagsStay = "no flag was cleared: rows that only this list justified stay flagged until: optsweep unflag"

func (a *app) suppressCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "suppress",
		Short: "Own suppression lists: opt-outs that the operator does not know",
		Long: "Opt-outs that people made on your own site, or that reached you in another way,\n" +
			"are not passed on to the operator. Import them, mapped to raw ids, under the name\n" +
			"of their source: every run flags them too, and the report counts them apart.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(a.suppressImportCommand(), a.suppressListCommand(), a.suppressRemoveCommand())
	return c
}

func (a *app) suppressImportCommand() *cobra.Command {
	var o wire.SuppressImport
	var format, unit, since string
	var override []string
	c := &cobra.Command{
		Use:   "import --source NAME --basis TEXT FILE",
		Short: "Merge a CSV, JSON lines or Parquet file into an own list",
		Long: "import merges the ids of a file into the own list of a source: what is on the list\n" +
			"stays on it, and of an id that comes again the earliest time counts. To take ids\n" +
			"off a list, remove the source, or unflag the id.\n\n" +
			"Rows without a valid id of the job's scope, or without a time, are left out,\n" +
			"counted by reason, and listed by row and pseudonym in a file beside the list; the\n" +
			"exit code is then 3. If they are more than limits.max_quarantined of the job file\n" +
			"allows, nothing is imported (exit code 6).\n\n" +
			"The next run flags the ids. They are still asked about, so that the operator's own\n" +
			"verdict is known; limits do not count them. The basis and the counts stay in the\n" +
			"ledger, so the basis must not name a person.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			for _, limit := range override {
				if limit != "max_quarantined" {
					return schemas.Errorf(schemas.Usage, "--override is %q, want max_quarantined", limit)
				}
				o.Override = true
			}
			if o.Since, err = parseDay("--since", since, 0); err != nil {
				return err
			}
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			o.Path, o.Format, o.Unit = args[0], wire.ImportFormat(format), wire.ImportUnit(unit)
			done, again, err := wire.ImportSuppression(cmd.Context(), a.system(), job, o)
			if err != nil {
				return err
			}
			if a.output == "json" {
				err = a.printJSON(struct {
					schemas.OwnListImported
					Again bool `json:"imported_before"`
				}{done, again})
			} else {
				err = a.printImported(done, again)
			}
			if bad := done.Rows - done.Valid; err == nil && bad > 0 {
				err = schemas.Errorf(schemas.Partial, "%d of %d rows were left out", bad, done.Rows).
					WithHint("they are listed in %s of the workspace; mend them and import the file again", done.Quarantine)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.Source, "source", "", "name of the source: a to z, 0 to 9 and '-'")
	f.StringVar(&o.Basis, "basis", "", "why these ids must not be used; kept in the ledger and shown in reports")
	f.StringVar(&format, "format", "", "csv, jsonl or parquet")
	f.StringVar(&o.IDColumn, "id-column", "", "column with the id")
	f.StringVar(&o.TimeColumn, "time-column", "", "column with the time of the opt-out")
	f.StringVar(&unit, "time-unit", "", "s, ms, rfc3339, or timestamp (Parquet)")
	f.StringVar(&since, "since", "", "day (2026-05-01) or time (RFC 3339) of all opt-outs, if there is no time column, UTC")
	f.StringSliceVar(&override, "override", nil, "import the good rows although more than max_quarantined are bad: max_quarantined")
	require(c, "source", "basis", "format", "id-column")
	return c
}

// oneFile wants the name of one file, without repeating what was given.
func oneFile(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return schemas.Errorf(schemas.Usage, "name one file").WithHint("see --help")
}

func (a *app) printImported(done schemas.OwnListImported, again bool) error {
	if again {
		fmt.Fprintf(a.Stdout, "this file was imported before, at %s by %s on %s; nothing changed\n", milli(done.At), done.User, done.Host)
	}
	fmt.Fprintf(a.Stdout, "read %s rows: %s valid, %s left out\n", report.Count(done.Rows), report.Count(done.Valid), report.Count(done.Rows-done.Valid))
	for _, reason := range slices.Sorted(maps.Keys(done.Malformed)) {
		fmt.Fprintf(a.Stdout, "  left out: %s %s\n", report.Count(done.Malformed[reason]), reason)
	}
	fmt.Fprintf(a.Stdout, "list %s (%s): %s ids, %s of them added, %s moved to an earlier time\n",
		done.Source, done.Basis, report.Count(done.Total), report.Count(done.Added), report.Count(done.Moved))
	_, err := fmt.Fprintln(a.Stdout, "next: optsweep run")
	return err
}

func (a *app) suppressListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the own lists: source, ids, basis, when and by whom",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			lists, err := wire.ListSuppression(job)
			if err != nil {
				return err
			}
			rows := []schemas.OwnListStatus{}
			for _, l := range lists {
				rows = append(rows, l.Status())
			}
			if a.output == "json" {
				return a.printJSON(rows)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(a.Stdout, "there are no own lists")
				return err
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "source\tids\tlast import\tby\tbasis")
			for _, l := range rows {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s on %s\t%s\n", l.Source, report.Count(l.Total), l.ImportedAt.Format(time.RFC3339), l.User, l.Host, l.Basis)
			}
			return t.Flush()
		},
	}
}

func (a *app) suppressRemoveCommand() *cobra.Command {
	var source, reason, ticket string
	c := &cobra.Command{
		Use:   "remove --source NAME --reason TEXT",
		Short: "Give up an own list; flags stay",
		Long: "remove gives up the own list of a source. It clears no flag: rows that only this\n" +
			"list justified stay flagged until the id is unflagged. But they are no longer\n" +
			"flagged again when a table is restored from an old copy. Who did it, when and why\n" +
			"stays in the ledger.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			done, again, err := wire.RemoveSuppression(a.system(), job, source, reason, ticket)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(struct {
					schemas.OwnListRemoved
					Again bool   `json:"removed_before"`
					Note  string `json:"note"`
				}{done, again, flagsStay})
			}
			_, err = fmt.Fprintf(a.Stdout, "%s the list %s with %s ids (%s)\nnote: %s\n",
				ifelse(again, "removed before:", "removed"), done.Source, report.Count(done.Total), done.Basis, flagsStay)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&source, "source", "", "name of the source")
	f.StringVar(&reason, "reason", "", "why, without naming a person; kept in the ledger")
	f.StringVar(&ticket, "ticket", "", "reference to the request; kept in the ledger")
	require(c, "source", "reason")
	return c
}
