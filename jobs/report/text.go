package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"optsweep/schemas"
)

// WriteText writes the summary that a person reads at the end of a run.
func WriteText(w io.Writer, r schemas.Report) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "run %s of job %s: %s", r.Run, r.Job, r.Status)
	if r.Resumed > 0 {
		fmt.Fprintf(&b, " (resumed %s)", times(r.Resumed))
	}
	b.WriteString("\n\n")
	if r.Offline {
		b.WriteString("offline: no operator was asked, only what earlier runs found was applied\n\n")
	}
	writeTables(&b, r)
	writeIDs(&b, r)
	writeSources(&b, r)
	writePhases(&b, r)
	if r.Limit != nil {
		fmt.Fprintf(&b, "\nstopped by limit %s: %s, allowed is %s\n", r.Limit.Limit, r.Limit.Figure, r.Limit.Allows)
	}
	for _, o := range r.Overrides {
		fmt.Fprintf(&b, "\nlimit %s was overridden by %s on %s: %s, allowed is %s\n", o.Limit, o.User, o.Host, o.Figure, o.Allows)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "\nnot reconciled: %s, %s: %s", f.Table, f.Unit, f.Error)
		if f.Hint != "" {
			fmt.Fprintf(&b, "\n  hint: %s", f.Hint)
		}
		b.WriteString("\n")
	}
	for _, l := range r.Laws {
		if !l.OK {
			fmt.Fprintf(&b, "\nLAW BROKEN %s: %s (%s)\n", l.Table, l.Name, l.Detail)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeTables(b *bytes.Buffer, r schemas.Report) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	flag := "newly flagged"
	if r.DryRun {
		flag = "would be flagged"
	}
	fmt.Fprintf(t, "table\tstatus\tfiles\tchanged\tfailed\trows\tnull\tquarantined\topted out\t%s\t\n", flag)
	for _, x := range r.Tables {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Table, x.Status,
			Count(int64(x.Units)), Count(int64(x.UnitsChanged)), Count(int64(x.UnitsFailed)),
			Count(x.Rows), Count(x.Nulls), Count(sum(x.Malformed)), Count(x.RowsOptedOut), Count(x.RowsNew))
	}
	_ = t.Flush()
	for _, x := range r.Tables {
		if x.Reused > 0 {
			fmt.Fprintf(b, "\n%s: the ids of %s of %s files were not read again: an earlier run read the same version\n", x.Table, Count(int64(x.Reused)), Count(int64(x.Units)))
		}
		if x.UnitsCarried > 0 {
			fmt.Fprintf(b, "%s: in %s files no flag can have changed since; their flags were counted again\n", x.Table, Count(int64(x.UnitsCarried)))
		}
		if x.RowsKept > 0 {
			fmt.Fprintf(b, "\n%s: %s flags from before were kept; their ids are not known as opted out here\n", x.Table, Count(x.RowsKept))
		}
		if x.RowsReapplied > 0 {
			fmt.Fprintf(b, "\n%s: %s of the flags were known from earlier runs and were missing; they were written before anything was asked\n", x.Table, Count(x.RowsReapplied))
		}
		if x.RowsRemoved > 0 {
			fmt.Fprintf(b, "\n%s: %s of the opted-out rows %s\n", x.Table, Count(x.RowsRemoved), takenOut(r.DryRun))
		}
		if len(x.Malformed) == 0 && x.Repaired == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s, ids that could not be checked (quarantined):\n", x.Table)
		for _, reason := range byCount(x.Malformed) {
			fmt.Fprintf(b, "  %-18s %s\n", reason, Count(x.Malformed[reason]))
		}
		if x.Example != nil {
			at := "a cell"
			if x.Example.Row != schemas.NoRow {
				at = fmt.Sprintf("row %d", x.Example.Row)
			}
			fmt.Fprintf(b, "  for example %s of %s: %s, shown as %s\n", at, x.Example.Unit, x.Example.Reason, x.Example.Pseudonym)
		}
		if x.Repaired > 0 {
			fmt.Fprintf(b, "  checked all the same: %s ids with white space around them\n", Count(x.Repaired))
		}
	}
}

func writeIDs(b *bytes.Buffer, r schemas.Report) {
	ids := r.IDs
	if ids.Distinct == 0 && ids.Batches == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\ndistinct ids\t%s\n", Count(ids.Distinct))
	fmt.Fprintf(t, "  opted out\t%s\t(%s known before, %s new)\n", Count(ids.Known+ids.OptedOut), Count(ids.Known), Count(ids.OptedOut))
	fmt.Fprintf(t, "  clear\t%s\t(not on the operator's list when asked)\n", Count(ids.Clear))
	fmt.Fprintf(t, "  unverifiable\t%s\n", Count(sum(ids.Unverifiable)))
	fmt.Fprintf(t, "asked\t%s\tin %s (%s)\n", Count(ids.Asked), plural(ids.Batches, "batch", "batches"), plural(ids.Retries, "retry", "retries"))
	_ = t.Flush()
}

func writePhases(b *bytes.Buffer, r schemas.Report) {
	if len(r.Phases) == 0 {
		return
	}
	parts := make([]string, len(r.Phases))
	for i, p := range r.Phases {
		parts[i] = fmt.Sprintf("%s %s", p.Name, time.Duration(p.Seconds*float64(time.Second)).Round(time.Millisecond))
	}
	fmt.Fprintf(b, "\ntime: %s\n", strings.Join(parts, ", "))
}

func byCount(m map[schemas.Reason]int64) []schemas.Reason {
	return slices.SortedFunc(maps.Keys(m), func(a, b schemas.Reason) int {
		if m[a] != m[b] {
			return int(min(max(m[b]-m[a], -1), 1))
		}
		return strings.Compare(string(a), string(b))
	})
}

// Count writes a number with a comma between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

func takenOut(dryRun bool) string {
	if dryRun {
		return "would be taken out of the table"
	}
	return "were taken out of the table"
}
