package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/audit"
	"optsweep/jobs/config"
	"optsweep/jobs/evidence"
	"optsweep/jobs/signing"
	"optsweep/schemas"
)

func (a *app) verifyCommand() *cobra.Command {
	var dir, pin string
	var files bool
	c := &cobra.Command{
		Use:   "verify [PACK]",
		Short: "Check the ledger and all it speaks of, or an evidence pack",
		Long: "verify checks, offline and without changing anything, that the ledger of the\n" +
			"workspace was only ever added to (but for what retention removed and says so), that the figures of every run add up, and that\n" +
			"its reports, journals, receipts, quarantine, ids and the suppression list are\n" +
			"those that the ledger speaks of. It works while a run is under way.\n\n" +
			"With the name of an evidence pack it verifies that, and needs nothing else. Say\n" +
			"with --public-key whose signature you expect: a pack carries the key it was\n" +
			"signed with, so by itself it does not tell who made it.\n\n" +
			"What was changed or is missing is named, and the exit code is 1.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if dir != "" || files {
					return schemas.Errorf(schemas.Usage, "--workspace and --files are not for evidence packs")
				}
				return a.verifyPack(cmd, args[0], pin)
			}
			if pin != "" {
				return schemas.Errorf(schemas.Usage, "--public-key is for evidence packs")
			}
			return a.verifyWorkspace(cmd, dir, files)
		},
	}
	workspaceFlag(c, &dir)
	c.Flags().BoolVar(&files, "files", false, "also name the files of the tables that have changed since the last run")
	c.Flags().StringVar(&pin, "public-key", "", "fingerprint, or file with a public key in PEM, of who must have signed the pack")
	return c
}

func (a *app) verifyWorkspace(cmd *cobra.Command, given string, files bool) error {
	dir, err := a.workspaceDir(given)
	if err != nil {
		return err
	}
	var job *config.Job
	if files {
		if job, err = a.loadJob(); err != nil {
			return err
		}
	}
	result, err := wire.VerifyWorkspace(cmd.Context(), a.system(), dir, job)
	if err != nil {
		return err
	}
	if a.output == "json" {
		err = a.printJSON(struct {
			OK bool `json:"ok"`
			audit.Result
		}{result.Checks.Err() == nil, result})
	} else if err = a.printChecks(result.Checks); err == nil {
		_, err = fmt.Fprintf(a.Stdout, "\n%s: %d events, %d runs%s; %s\n", dir, result.Events, result.Runs,
			ifelse(result.Removed > 0, fmt.Sprintf(", %d earlier events removed by retention", result.Removed), ""), summary(result.Checks))
		if result.Signer != nil {
			_, lineErr := fmt.Fprintf(a.Stdout, "evidence packs are signed with key %s\n", signing.Show(*result.Signer))
			err = errors.Join(err, lineErr)
		}
	}
	return errors.Join(result.Checks.Err(), err)
}

func (a *app) verifyPack(cmd *cobra.Command, path, pin string) error {
	result, err := wire.VerifyPack(cmd.Context(), path, pin)
	if err != nil {
		return err
	}
	if a.output == "json" {
		err = a.printJSON(struct {
			OK bool `json:"ok"`
			evidence.Result
		}{result.Checks.Err() == nil, result})
	} else if err = a.printChecks(result.Checks); err == nil {
		_, err = fmt.Fprintf(a.Stdout, "\n%s: %s\n", path, summary(result.Checks))
		if result.Checks.Err() == nil && !result.Pinned {
			_, lineErr := fmt.Fprintf(a.Stdout, "whole, but the signer is not pinned: this tells that nothing was changed since, not who made it\n")
			err = errors.Join(err, lineErr)
		}
	}
	return errors.Join(result.Checks.Err(), err)
}

// printChecks prints one line for each check.
func (a *app) printChecks(checks audit.Checks) error {
	w := bufio.NewWriter(a.Stdout)
	for _, c := range checks {
		where := c.File
		if c.Run != "" && !strings.Contains(where, c.Run) {
			where = strings.TrimSpace(where + " run " + c.Run)
		}
		if where != "" {
			where += ": "
		}
		if _, err := fmt.Fprintf(w, "%-6s  %-16s  %s%s\n", c.Status, c.What, where, c.Detail); err != nil {
			return err
		}
	}
	return w.Flush()
}

func summary(c audit.Checks) string {
	text := fmt.Sprintf("%d checks ok, %d failed", c.Count(audit.OK), c.Count(audit.Failed))
	if n := c.Count(audit.Gone); n > 0 {
		text += fmt.Sprintf(", %d of things removed by retention", n)
	}
	return text
}
