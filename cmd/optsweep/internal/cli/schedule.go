package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) scheduleCommand() *cobra.Command {
	var configs []string
	c := &cobra.Command{
		Use:   "schedule",
		Short: "Run jobs on their schedules",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// In place of the global flag, which names one file.
	c.PersistentFlags().StringArrayVarP(&configs, "config", "c", []string{"optsweep.yaml"}, "job file, or folder of *.yaml job files (repeatable)")
	c.AddCommand(a.explainCommand(&configs))
	return c
}
