package cli

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

func (a *app) purgeCommand() *cobra.Command {
	var ids, runs, both string
	var dryRun bool
	c := &cobra.Command{
		Use:   "purge",
		Short: "Remove the ids and folders of old runs from the workspace",
		Long: "purge applies retention and says what it removed. Of runs older than --ids it\n" +
			"removes the ids, the answers to them, and the quarantine: after that, prove and\n" +
			"verify cannot tell any more what was asked about an id. Of runs older than --runs\n" +
			"it removes the whole folder, with plan, receipts and report. What is removed\n" +
			"stands in the ledger before it happens, so that verify can tell it from a loss.\n\n" +
			"Never removed are the suppression list, without which flags would be forgotten,\n" +
			"the last run, and the ledger itself: its events hold no ids, and every report can\n" +
			"be made out of them again. Ages are such as 12h, 30d, 2w, 24mo or\n3y; 0d is every run but the last.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if both != "" {
				ids, runs = both, both
			}
			s := a.system()
			r := sweep.Retention{DryRun: dryRun}
			var err error
			if r.IDsBefore, err = before(s.Now(), "--ids", ids); err != nil {
				return err
			}
			if r.RunsBefore, err = before(s.Now(), "--runs", runs); err != nil {
				return err
			}
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			p, err := wire.Purge(cmd.Context(), s, job, r)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(struct {
					DryRun bool `json:"dry_run"`
					schemas.Purged
				}{dryRun, p})
			}
			printPurged(a.Stdout, p, dryRun)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&ids, "ids", "30d", "age of runs whose ids, answers and quarantine are removed")
	f.StringVar(&runs, "runs", "24mo", "age of runs whose whole folder is removed")
	f.StringVar(&both, "older-than", "", "sets both --ids and --runs")
	f.BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	c.MarkFlagsMutuallyExclusive("older-than", "ids")
	c.MarkFlagsMutuallyExclusive("older-than", "runs")
	return c
}

var age = regexp.MustCompile(`^([0-9]{1,5})(h|d|w|mo|y)$`)

// before is the time that lies an age before now.
func before(now time.Time, flag, text string) (time.Time, error) {
	m := age.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, schemas.Errorf(schemas.Usage, "%s is %q, not an age", flag, text).WithHint("write it as 12h, 30d, 2w, 24mo or 3y")
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return time.Time{}, schemas.Errorf(schemas.Usage, "%s: %w", flag, err)
	}
	switch m[2] {
	case "h":
		return now.Add(-time.Duration(n) * time.Hour), nil
	case "d":
		return now.AddDate(0, 0, -n), nil
	case "w":
		return now.AddDate(0, 0, -7*n), nil
	case "mo":
		return now.AddDate(0, -n, 0), nil
	default:
		return now.AddDate(-n, 0, 0), nil
	}
}

func printPurged(w io.Writer, p schemas.Purged, dryRun bool) {
	verb := ifelse(dryRun, "would remove", "removed")
	for _, x := range []struct {
		what   string
		before time.Time
		schemas.PurgeCount
	}{
		{"ids, answers and quarantine", p.IDsBefore, p.IDs},
		{"whole folders", p.RunsBefore, p.Runs},
	} {
		if x.Files == 0 {
			fmt.Fprintf(w, "%s of runs before %s: nothing to remove\n", x.what, x.before.Format(time.RFC3339))
			continue
		}
		fmt.Fprintf(w, "%s of runs before %s: %s %s files, %s bytes, of %d runs from %s to %s\n", x.what, x.before.Format(time.RFC3339),
			verb, report.Count(x.Files), report.Count(x.Bytes), x.PurgeCount.Runs, x.Oldest, x.Newest)
	}
	fmt.Fprintln(w, "kept: the ledger and the suppression list")
}
