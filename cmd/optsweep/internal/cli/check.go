package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/schemas"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Ask the operator about single ids from standard input or a file",
		Long: "check reads one id a line and prints a verdict for each line, by line number:\n" +
			"the ids themselves are not printed. Nothing is written anywhere. Exit code 3\n" +
			"means that some lines have no verdict.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			in := a.Stdin
			if len(args) == 1 {
				f, err := os.Open(args[0])
				if err != nil {
					return schemas.Errorf(schemas.Usage, "%w", err)
				}
				defer f.Close()
				in = f
			}
			cells, err := readLines(in)
			if err != nil {
				return err
			}
			verdicts, err := wire.Check(cmd.Context(), a.system(), job, cells)
			if err != nil {
				return err
			}
			return a.printVerdicts(verdicts)
		},
	}
}

// maxChecked bounds what check holds in memory; larger sets are a job for run.
const maxChecked = 1_000_000

func readLines(r io.Reader) ([][]byte, error) {
	var cells [][]byte
	s := bufio.NewScanner(r)
	for s.Scan() {
		if len(cells) == maxChecked {
			return nil, schemas.Errorf(schemas.Usage, "more than %d ids", maxChecked).WithHint("put them into a Parquet file and use: optsweep run")
		}
		cells = append(cells, bytes.Clone(s.Bytes()))
	}
	if err := s.Err(); err != nil {
		return nil, schemas.Errorf(schemas.Usage, "reading ids: %w", err)
	}
	return cells, nil
}

func (a *app) printVerdicts(verdicts []wire.Verdict) error {
	w := bufio.NewWriter(a.Stdout)
	enc := json.NewEncoder(w)
	unverifiable := 0
	for i, v := range verdicts {
		if v.Verdict == wire.Unverifiable {
			unverifiable++
		}
		if a.output == "json" {
			if err := enc.Encode(struct {
				Line int `json:"line"`
				wire.Verdict
			}{i + 1, v}); err != nil {
				return err
			}
			continue
		}
		switch v.Verdict {
		case wire.OptedOut:
			fmt.Fprintf(w, "%d: opted out since %s\n", i+1, time.UnixMilli(v.SinceMS).UTC().Format(time.RFC3339))
		case wire.Clear:
			fmt.Fprintf(w, "%d: clear as of %s\n", i+1, time.UnixMilli(v.AsOfMS).UTC().Format(time.RFC3339))
		default:
			fmt.Fprintf(w, "%d: unverifiable, %s\n", i+1, v.Reason)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if unverifiable > 0 {
		return schemas.Errorf(schemas.Partial, "%d of %d lines have no verdict", unverifiable, len(verdicts))
	}
	return nil
}
