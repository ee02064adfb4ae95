package cli

import (
	"bufio"
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
	var ids, runs, events, all string
	var dryRun bool
	c := &cobra.Command{
		Use:   "purge",
		Short: "Remove old ids, folders of runs, and events from the workspace",
		Long: "purge applies retention and says what it removed:\n" +
			"  --ids     of older runs the ids, the answers to them, and the quarantine: after\n" +
			"            that, prove and verify cannot tell what was asked about an id\n" +
			"  --runs    the whole folders of older runs, with plan, receipts and report\n" +
			"  --ledger  the events of older runs and unflags from the beginning of the\n" +
			"            ledger: after that, there is no report and no evidence pack of them\n" +
			"What is removed stands in the ledger before it happens, so that verify can tell it\n" +
			"from a loss. Make an evidence pack first if somebody may ask for those runs.\n\n" +
			"Never removed are the suppression list, without which flags would be forgotten,\n" +
			"the last run with its events, and a run or an unflag that is not finished, with\n" +
			"all that came after it. The figures that limits compare with are kept. Ages are\n" +
			"such as 12h, 30d, 2w, 24mo or 3y; 0d is every run but the last.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all != "" {
				ids, runs, events = all, all, all
			}
			s := a.system()
			r, err := retention(s.Now(), ids, runs, events)
			if err != nil {
				return err
			}
			r.DryRun = dryRun
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
					schemas.PurgeResult
				}{dryRun, p})
			}
			return printPurged(a.Stdout, p, dryRun)
		},
	}
	f := c.Flags()
	f.StringVar(&ids, "ids", "30d", "age of runs whose ids, answers and quarantine are removed")
	f.StringVar(&runs, "runs", "24mo", "age of runs whose whole folder is removed")
	f.StringVar(&events, "ledger", "", "age of events that are removed from the ledger, at least that of --runs (default: 24mo, or that of --runs if it is more)")
	f.StringVar(&all, "older-than", "", "sets --ids, --runs and --ledger")
	f.BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	for _, one := range []string{"ids", "runs", "ledger"} {
		c.MarkFlagsMutuallyExclusive("older-than", one)
	}
	return c
}

// defaultLedger is how long the ledger keeps events without being told.
const defaultLedger = "24mo"

// retention reads the ages. The events of a run are kept at least as long as
// its folder, which could not be verified without them.
func retention(now time.Time, ids, runs, events string) (r sweep.Retention, err error) {
	if r.IDsBefore, err = before(now, "--ids", ids); err != nil {
		return r, err
	}
	if r.RunsBefore, err = before(now, "--runs", runs); err != nil {
		return r, err
	}
	given := events != ""
	if !given {
		events = defaultLedger
	}
	if r.LedgerBefore, err = before(now, "--ledger", events); err != nil {
		return r, err
	}
	if !r.LedgerBefore.After(r.RunsBefore) {
		return r, nil
	}
	if given {
		return r, schemas.Errorf(schemas.Usage, "--ledger %s is less than --runs %s", events, runs).
			WithHint("the folder of a run cannot be verified without its events: give --ledger at least the age of --runs")
	}
	r.LedgerBefore = r.RunsBefore
	return r, nil
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

func printPurged(w io.Writer, p schemas.PurgeResult, dryRun bool) error {
	b := bufio.NewWriter(w)
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
			fmt.Fprintf(b, "%s of runs before %s: nothing to remove\n", x.what, x.before.Format(time.RFC3339))
			continue
		}
		fmt.Fprintf(b, "%s of runs before %s: %s %s files, %s bytes, of %d runs from %s to %s\n", x.what, x.before.Format(time.RFC3339),
			verb, report.Count(x.Files), report.Count(x.Bytes), x.PurgeCount.Runs, x.Oldest, x.Newest)
	}
	if l := p.Ledger; l.Events == 0 {
		fmt.Fprintf(b, "events of the ledger before %s: nothing to remove\n", p.LedgerBefore.Format(time.RFC3339))
	} else {
		fmt.Fprintf(b, "events of the ledger before %s: %s %s events, %s bytes, from %s to %s, of %d runs%s%s\n", p.LedgerBefore.Format(time.RFC3339),
			verb, report.Count(l.Events), report.Count(l.Bytes), l.Since.Format(time.RFC3339), l.Until.Format(time.RFC3339),
			l.Runs, ifelse(l.Runs > 0, fmt.Sprintf(" from %s to %s", l.Oldest, l.Newest), ""), ifelse(l.Unflags > 0, fmt.Sprintf(" and %d unflags", l.Unflags), ""))
	}
	fmt.Fprintln(b, "kept: the suppression list and all later events of the ledger")
	return b.Flush()
}
