// Package render shows a compliance report to people: as text, as a table for a
// spreadsheet, and as one page for screen and paper. The same report gives the
// same bytes.
package render

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

// Text writes a summary.
func Text(w io.Writer, c schemas.Compliance) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n", title(c), about(c))
	if c.SLO != nil {
		fmt.Fprintf(&b, "\n%s\n", c.SLO.Summary)
		for _, x := range c.SLO.Breaches {
			fmt.Fprintf(&b, "  %s: %s%s\n", breachOf(x), x.Why, worst(x))
		}
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "table\tstatus\truns\tlast checked\trows\topted out\tclear\tunsettled\tquarantined\tnull\tnewly flagged\t")
	for _, x := range c.Tables {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Table, words(x.Status), x.Runs, age(x),
			report.Count(x.Rows), report.Count(x.OptedOut), report.Count(x.Clear), report.Count(x.Unsettled), report.Count(x.Bad()), report.Count(x.Nulls), report.Count(x.New))
	}
	_ = t.Flush()
	fmt.Fprintln(&b)
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "time to honour\tids\tp50\tp95\tmax\tdetect max\tapply max\tarrived\tbacklog\topen\t")
	for _, x := range c.Tables {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Table, report.Count(x.Total.IDs), wait(x.Total, x.P50S), wait(x.Total, x.P95S), wait(x.Total, x.Total.MaxS),
			wait(x.Detect, x.Detect.MaxS), wait(x.Apply, x.Apply.MaxS), report.Count(x.Arrived), report.Count(x.Backlog.IDs), report.Count(x.Open.IDs))
	}
	_ = t.Flush()
	if len(c.Gaps) > 0 {
		b.WriteString("\nnot checked or not written, and why:\n")
	}
	for _, g := range c.Gaps {
		fmt.Fprintf(&b, "  %s\n", gapLine(g))
	}
	fmt.Fprintf(&b, "\nruns: %d\n", len(c.Runs))
	for _, r := range c.Runs {
		fmt.Fprintf(&b, "  %s  %s\n", r.Run, runStatus(r))
	}
	for _, l := range c.Limits {
		fmt.Fprintf(&b, "\n%s\n", limitLine(l))
	}
	fmt.Fprintf(&b, "\nledger: event %d, %s\n", c.Evidence.Head.Seq, c.Evidence.Head.Hash)
	_, err := w.Write(b.Bytes())
	return err
}

func title(c schemas.Compliance) string {
	if c.Run != "" {
		return "opt-out compliance report of run " + c.Run
	}
	return "opt-out compliance report"
}

// about says which runs the report is about.
func about(c schemas.Compliance) string {
	text := "made " + moment(c.MadeAt)
	if c.Run == "" {
		from, to := "the beginning", moment(c.End)
		if !c.Since.IsZero() {
			from = moment(c.Since)
		}
		text = fmt.Sprintf("runs that were started from %s to %s; %s", from, to, text)
	}
	return text
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func age(t schemas.ComplianceTable) string {
	if t.CheckedAt.IsZero() {
		return "never"
	}
	return report.Span(t.AgeS) + " ago"
}

// wait is a figure about ids, if there are any.
func wait(w schemas.Waits, seconds int64) string {
	if w.IDs == 0 {
		return "-"
	}
	return report.Span(seconds)
}

// words is a status in words.
func words(status string) string {
	switch status {
	case schemas.StatusNeverRun:
		return "never run"
	case schemas.StatusPreviewed:
		return "dry run"
	case schemas.StatusReapplied:
		return "offline"
	default:
		return status
	}
}

func runStatus(r schemas.ComplianceRun) string {
	text := words(r.Status)
	if r.DryRun && r.Status != schemas.StatusPreviewed {
		text += " (dry run)"
	}
	if r.Offline && r.Status != schemas.StatusReapplied {
		text += " (offline)"
	}
	if r.Resumed > 0 {
		text += ", resumed"
	}
	return text
}

// endings counts how runs ended.
func endings(c schemas.Compliance) string {
	counts, order := map[string]int{}, []string{}
	for _, r := range c.Runs {
		status := words(r.Status)
		if counts[status]++; counts[status] == 1 {
			order = append(order, status)
		}
	}
	for i, status := range order {
		order[i] = fmt.Sprintf("%d %s", counts[status], status)
	}
	return strings.Join(order, ", ")
}

func limitLine(l schemas.ComplianceLimit) string {
	text := fmt.Sprintf("run %s: limit %s is %s, allowed is %s", l.Run, l.Limit, l.Figure, l.Allows)
	if l.Overridden {
		return text + fmt.Sprintf("; overridden by %s on %s", l.User, l.Host)
	}
	return text + "; it stopped the run"
}

// gapName is a kind of gap in words.
func gapName(kind string) string {
	switch kind {
	case schemas.GapNeverRun:
		return "table without a run"
	case schemas.GapUnitFailed:
		return "unit not treated"
	case schemas.GapQuarantined:
		return "rows quarantined"
	case schemas.GapUnverifiable:
		return "ids without a verdict"
	case schemas.GapRunFailed:
		return "run not finished well"
	case schemas.GapFireSkipped:
		return "run skipped"
	case schemas.GapFireFailed:
		return "run not begun"
	case schemas.GapFiresUnknown:
		return "missed runs not known"
	case schemas.GapRetention:
		return "removed by retention"
	case schemas.GapNotRecorded:
		return "not recorded"
	default:
		return kind
	}
}

// gapOf says what a gap is about.
func gapOf(g schemas.ComplianceGap) string {
	switch {
	case g.Unit != "":
		return g.Table + ", " + g.Unit
	case g.Table != "":
		return g.Table
	case g.Run != "":
		return "run " + g.Run
	case g.Kind == schemas.GapFireSkipped && !g.Until.IsZero():
		return moment(g.At) + " to " + moment(g.Until)
	case g.Kind == schemas.GapFireSkipped, g.Kind == schemas.GapFireFailed:
		return moment(g.At)
	case g.Job != "":
		return "job " + g.Job
	default:
		return "all"
	}
}

func gapLine(g schemas.ComplianceGap) string {
	return fmt.Sprintf("%s: %s, %s: %s", gapName(g.Kind), gapOf(g), report.Count(g.Count), g.Why)
}

func breachOf(b schemas.ComplianceBreach) string {
	where := "all tables"
	switch {
	case b.Table != "":
		where = "table " + b.Table
	case b.Job != "":
		where = "job " + b.Job
	}
	switch {
	case b.IDs > 0 && !b.Exact:
		return where + ", up to " + report.Count(b.IDs) + " ids"
	case b.IDs > 0:
		return where + ", " + report.Count(b.IDs) + " ids"
	default:
		return where
	}
}

func worst(b schemas.ComplianceBreach) string {
	if b.WorstS == 0 {
		return ""
	}
	return ", the worst " + report.Span(b.WorstS)
}
