package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

// flaggedAgain is what users must know of an unflag.
const flaggedAgain = "the next run flags the id again if the operator still lists it"

func (a *app) unflagCommand() *cobra.Command {
	var reason, ticket string
	var offList []string
	c := &cobra.Command{
		Use:   "unflag --reason TEXT < FILE",
		Short: "Take one id, from standard input, off the suppression list and clear its flags",
		Long: "unflag reads one id from standard input, never from an argument. It takes the id\n" +
			"off the suppression list and clears opted_out_since in its rows, in all tables of\n" +
			"the job. Nothing else ever clears a flag. Who did it, when and why stays in the\n" +
			"ledger until retention removes it (see optsweep purge), under the id's pseudonym,\n" +
			"so the reason must not name the person.\n\n" +
			"An id that is on a list of your own (optsweep suppress) is refused, unless you\n" +
			"name each such list with --off-list: the id is then taken off it, too.\n\n" +
			"It does not change what the operator knows: " + flaggedAgain + ".\n" +
			"An unflag that was cut short is completed by the same command with the same id.",
		Args: fromStdin,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			id, err := a.readID(job.Rules())
			if err != nil {
				return err
			}
			done, err := wire.Unflag(cmd.Context(), a.system(), job, id, reason, ticket, offList)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(struct {
					schemas.Unflagged
					Note    string   `json:"note"`
					Removed []string `json:"removed_rows,omitempty"`
				}{done, flaggedAgain, wire.Unremoved(job)})
			}
			return a.printUnflagged(job, done)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, without naming the person; kept in the ledger")
	c.Flags().StringVar(&ticket, "ticket", "", "reference to the request; kept in the ledger")
	c.Flags().StringSliceVar(&offList, "off-list", nil, "own list that the id is taken off, too (repeatable)")
	require(c, "reason")
	return c
}

func (a *app) printUnflagged(job *config.Job, done schemas.Unflagged) error {
	rows := int64(0)
	for _, r := range done.Receipts {
		rows += r.Cleared
	}
	if done.FoundMS == 0 {
		fmt.Fprintf(a.Stdout, "%s was not on the suppression list\n", done.Pseudonym)
	} else {
		fmt.Fprintf(a.Stdout, "%s is off the suppression list: it was opted out since %s, found %s\n", done.Pseudonym, milli(done.SinceMS), milli(done.FoundMS))
	}
	for _, l := range done.OwnLists {
		fmt.Fprintf(a.Stdout, "it is off your own list %s: it was there since %s; a file that holds it adds it again\n", l.Source, milli(l.FoundMS))
	}
	fmt.Fprintf(a.Stdout, "cleared the flags of %s rows in %d of %d units\n", report.Count(rows), len(done.Receipts), done.Units)
	for _, line := range wire.Unremoved(job) {
		fmt.Fprintf(a.Stdout, "note: %s\n", line)
	}
	_, err := fmt.Fprintf(a.Stdout, "note: %s\n", flaggedAgain)
	return err
}
