package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.output == "json" {
				return a.printJSON(map[string]string{"version": wire.Version()})
			}
			_, err := fmt.Fprintln(a.Stdout, "optsweep", wire.Version())
			return err
		},
	}
}
