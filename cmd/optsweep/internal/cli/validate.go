package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the job file and list all its problems",
		Long:  "validate checks the job file, with line and column for every problem. It reads\nno secret, opens no table and asks no operator.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(map[string]any{"valid": true, "job": job.Name, "tables": len(job.Tables), "config_digest": job.Digest()})
			}
			_, err = fmt.Fprintf(a.Stdout, "%s is valid: job %s, %d table(s), %s %s, %s operator\n",
				a.config, job.Name, len(job.Tables), job.Scope, job.Environment, job.Operator.Kind)
			return err
		},
	}
}
