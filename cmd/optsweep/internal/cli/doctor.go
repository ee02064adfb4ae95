package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/schemas"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find out why the operator cannot be asked, and what to do",
		Long: "doctor checks, without asking about any id: the operator's address against the\n" +
			"job's scope and environment, key, secret and role, name resolution, TLS, this\n" +
			"machine's clock, and the time an answer takes. It shows no secret.",
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

func (a *app) printFindings(findings []wire.Finding) {
	for _, f := range findings {
		fmt.Fprintf(a.Stdout, "%-4s  %-13s  %s\n", f.Status, f.Name, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(a.Stdout, "%-4s  %-13s  fix: %s\n", "", "", f.Fix)
		}
	}
}
