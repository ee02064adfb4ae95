package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/jobs/signing"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented job file and make the workspace",
		Long: "init writes a commented job file, unless there is one already, and makes the\n" +
			"workspace that the job file names. Existing files are never changed.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			wrote, err := writeNew(a.config, config.Scaffold())
			if err != nil {
				return err
			}
			job, err := a.loadJob()
			if err != nil {
				return err
			}
			if err := wire.CreateWorkspace(a.system(), job); err != nil {
				return err
			}
			signer, err := wire.Signer(job.Workspace)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(map[string]any{"config": a.config, "config_written": wrote, "workspace": job.Workspace, "signer": signer})
			}
			if wrote {
				fmt.Fprintf(a.Stdout, "wrote %s\n", a.config)
			}
			fmt.Fprintf(a.Stdout, "made the workspace %s\n", job.Workspace)
			fmt.Fprintf(a.Stdout, "its evidence packs are signed with key %s\n", signing.Show(signer))
			if wrote {
				fmt.Fprintf(a.Stdout, "next: edit %s, then: optsweep validate; optsweep doctor; optsweep run --dry-run; optsweep run\n", a.config)
			}
			return nil
		},
	}
}

// writeNew writes a file unless it exists.
func writeNew(path string, data []byte) (bool, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.Write(data)
	return err == nil, errors.Join(err, f.Close())
}
