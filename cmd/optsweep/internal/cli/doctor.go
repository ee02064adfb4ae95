package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/schemas"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find out why the operator cannot be asked or BigQuery not be used, and what to do",
		Long: "doctor checks, without asking about any id: the operator's address against the\n" +
			"job's scope and environment, key, secret and role, name resolution, TLS, this\n" +
			"machine's clock, and the time an answer takes. Of each table of BigQuery it checks\n" +
			"credentials, location, and every permission that a run needs, and prints the lines\n" +
			"that grant what is missing and no more. It shows no secret.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			findings := wire.Doctor(cmd.Context(), a.system(), job)
			failed := 0
			for _, f := range findings {
				if f.Status == wire.FindingFailed {
					failed++
				}
			}
			if a.output == "json" {
				if err := a.printJSON(findings); err != nil {
					return err
				}
			} else {
				a.printFindings(findings)
			}
			if failed > 0 {
				return schemas.Errorf(schemas.Refused, "%d of %d checks failed", failed, len(findings))
			}
			return nil
		},
	}
}

func (a *app) printFindings(findings []wire.TableFinding) {
	table := ""
	for _, f := range findings {
		if f.Table != table {
			table = f.Table
			fmt.Fprintf(a.Stdout, "\ntable %s\n", table)
		}
		fmt.Fprintf(a.Stdout, "%-4s  %-13s  %s\n", f.Status, f.Name, f.Detail)
		if f.Fix != "" {
			for i, line := range strings.Split(f.Fix, "\n") {
				fmt.Fprintf(a.Stdout, "%-4s  %-13s  %s%s\n", "", "", ifelse(i == 0, "fix: ", "     "), line)
			}
		}
	}
}
