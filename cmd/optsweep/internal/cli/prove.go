package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) proveCommand() *cobra.Command {
	var noScan bool
	c := &cobra.Command{
		Use:   "prove < FILE",
		Short: "Tell everything that is known about one id, from standard input",
		Long: "prove reads one id from standard input, never from an argument, where other users\n" +
			"of the machine could see it. It tells in which rows the id stands, what each run\n" +
			"asked and was answered about it, since when it is on the suppression list, which\n" +
			"run flagged its rows, and what can no longer be told because retention removed\n" +
			"it. It shows the id's pseudonym only, changes nothing, and asks no operator.\n\n" +
			"A run's answer is \"proven\" if the digest of its batch, made again from the run's\n" +
			"ids, is the one in the run's journal, and that journal is the one in the ledger.",
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
			proof, err := wire.Prove(cmd.Context(), a.system(), job, id, !noScan)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(proof)
			}
			if err := writeProof(a.Stdout, proof); err != nil {
				return err
			}
			for _, line := range wire.Unremoved(job) {
				fmt.Fprintf(a.Stdout, "not searched: %s\n", line)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&noScan, "no-scan", false, "do not search the tables, only the workspace")
	return c
}

// fromStdin refuses arguments without repeating them: one may be an id.
func fromStdin(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return schemas.Errorf(schemas.Usage, "the id is read from standard input, not from arguments").
		WithHint("arguments are visible to other users of the machine and stay in the shell's history; put the id into a file and use: < FILE")
}

// maxIDLine is longer than any id in any spelling, and white space around it.
const maxIDLine = 4096

// readID reads the one line of standard input.
func (a *app) readID(rules schemas.Rules) (schemas.ID, error) {
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(a.Stdin), maxIDLine+1))
	if err != nil {
		return schemas.ID{}, schemas.Errorf(schemas.Usage, "reading the id: %w", err)
	}
	line := bytes.TrimRight(text, "\r\n")
	switch {
	case len(line) == 0:
		return schemas.ID{}, schemas.Errorf(schemas.Usage, "standard input holds no id").WithHint("give one id, on one line")
	case len(text) > maxIDLine || bytes.ContainsAny(line, "\r\n"):
		return schemas.ID{}, schemas.Errorf(schemas.Usage, "standard input holds more than one line").WithHint("give one id, on one line")
	}
	id, _, reason := rules.Parse(line)
	if reason != schemas.Valid {
		return schemas.ID{}, schemas.Errorf(schemas.Usage, "standard input holds no valid id: %s", reason).
			WithHint("give a raw id of the job's scope and environment in standard base64, %d characters", schemas.TextSize)
	}
	return id, nil
}

func writeProof(w io.Writer, p schemas.Proof) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s, as of %s\n", p.Pseudonym, p.MadeAt.Format(time.RFC3339))
	if !p.Seen {
		fmt.Fprintln(b, "never seen")
	}
	if l := p.Listing; l != nil {
		fmt.Fprintf(b, "on the suppression list: opted out since %s, found %s%s\n", milli(l.SinceMS), milli(l.FoundMS), prefixed(" by run ", l.Run))
	} else {
		fmt.Fprintln(b, "not on the suppression list")
	}
	for _, l := range p.OwnLists {
		fmt.Fprintf(b, "on your own list %s: opted out since %s, %s; imported %s by %s on %s\n", l.Source, milli(l.SinceMS), l.Basis, milli(l.FoundMS), l.User, l.Host)
	}
	for _, u := range p.Unflagged {
		fmt.Fprintf(b, "unflagged at %s by %s on %s: %s%s%s\n", u.At.Format(time.RFC3339), u.User, u.Host, u.Reason,
			prefixed(", ticket ", u.Ticket), ifelse(u.Complete, "", " (cut short)"))
	}
	for _, r := range p.Runs {
		fmt.Fprintf(b, "run %s%s: %s\n", r.Run, ifelse(r.DryRun, " (dry run)", ""), runAnswer(r))
	}
	if s := p.Scan; s != nil {
		fmt.Fprintf(b, "searched %s rows in %d units: found in %d\n", report.Count(s.Rows), s.Units, len(p.Units))
		for _, f := range s.Failures {
			fmt.Fprintf(b, "not searched: %s, %s: %s\n", f.Table, f.Unit, f.Error)
		}
	}
	for _, u := range p.Units {
		writeProofUnit(b, u)
	}
	for _, g := range p.Gaps {
		fmt.Fprintf(b, "cannot be told: %s\n", g)
	}
	return b.Flush()
}

func runAnswer(r schemas.ProofRun) string {
	at := fmt.Sprintf(" as of %s, batch %d", milli(r.AsOfMS), r.Batch)
	text := map[string]string{
		schemas.AnswerOptedOut:     "asked, opted out since " + milli(r.SinceMS) + at,
		schemas.AnswerClear:        "asked, clear" + at,
		schemas.AnswerUnverifiable: "asked, without a verdict (" + string(r.Reason) + ")" + at,
		schemas.AnswerKnown:        "known as opted out, flagged without being asked about again",
		schemas.AnswerNotAsked:     "not asked",
		schemas.AnswerNotInData:    "not in the data",
		schemas.AnswerNotProvable:  "cannot be told",
	}[r.Answer]
	return text + ifelse(r.Proven, ", proven", ", not proven")
}

// shownRows is how many rows of a unit the text names; JSON has more.
const shownRows = 10

func writeProofUnit(w io.Writer, u schemas.ProofUnit) {
	var rows []string
	for _, r := range u.Rows[:min(len(u.Rows), shownRows)] {
		rows = append(rows, fmt.Sprint(r))
	}
	fmt.Fprintf(w, "%s, %s: %s rows: %s%s\n", u.Table, u.Unit, report.Count(u.Count), strings.Join(rows, ", "), ifelse(u.Count > shownRows, ", ...", ""))
	if u.Misspelt > 0 {
		fmt.Fprintf(w, "  %s of them in a spelling that is quarantined and never asked about\n", report.Count(u.Misspelt))
	}
	switch f := u.FlaggedBy; {
	case f != nil:
		fmt.Fprintf(w, "  flagged by run %s at %s (version %s to %s)\n", f.Run, f.At.Format(time.RFC3339), f.VersionBefore, f.VersionAfter)
	case !u.FlaggedBefore.IsZero():
		fmt.Fprintf(w, "  flagged before %s, by a run that retention has removed\n", u.FlaggedBefore.Format(time.RFC3339))
	default:
		fmt.Fprintln(w, "  not flagged as far as the ledger tells")
	}
}

func milli(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

func prefixed(prefix, text string) string { return ifelse(text == "", "", prefix+text) }

func ifelse(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
