package cli

import "github.com/spf13/cobra"

func (a *app) operatorCommand() *cobra.Command { return &cobra.Command{Use: "operator"} }
