package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report/render"
	"optsweep/schemas"
)

// compliance writes a compliance report.
func (a *app) compliance(f reportFlags) error {
	s := a.system()
	o := wire.ComplianceOptions{Run: f.run, Tables: f.tables}
	var err error
	if o.Since, o.Until, err = period(s.Now(), f.since, f.until); err != nil {
		return err
	}
	if o.SLO, err = parseSpan("--slo", f.slo); err != nil {
		return err
	}
	dir := f.dir
	if dir == "" {
		if o.Job, err = a.loadJob(); err != nil {
			return err
		}
		dir = o.Job.Workspace
	}
	c, err := wire.Compliance(s, dir, o)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return writeCompliance(w, f.format, c) }
	if f.out != "" {
		err = wire.WriteWhole(f.out, write)
	} else {
		err = write(a.Stdout)
	}
	if err == nil && c.SLO != nil && !c.SLO.OK {
		return schemas.Errorf(schemas.Gate, "%s", c.SLO.Summary).WithHint("the report was written; it lists every breach")
	}
	return err
}

func writeCompliance(w io.Writer, format string, c schemas.Compliance) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	case "csv":
		return render.CSV(w, c)
	case "html":
		return render.HTML(w, c)
	default:
		return render.Text(w, c)
	}
}

// parseSpan reads a span of time such as 24h, 7d or 90m.
func parseSpan(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if m := age.FindStringSubmatch(text); err != nil && m != nil && (m[2] == "d" || m[2] == "w") {
		if d, err = time.ParseDuration(m[1] + "h"); m[2] == "d" {
			d *= 24
		} else {
			d *= 7 * 24
		}
	}
	if err != nil || d < time.Second {
		return 0, schemas.Errorf(schemas.Usage, "%s is %q, not a span of time", flag, text).WithHint("write it as 90m, 24h, 7d or 2w")
	}
	return d, nil
}

func (a *app) reportColumnsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "columns",
		Short: "List the columns of --format csv",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, c := range render.Columns() {
				fmt.Fprintf(t, "%s\t%s\n", c.Name, c.Doc)
			}
			return t.Flush()
		},
	}
}
