package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

func (a *app) completionCommand() *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(a.Stdout, true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(a.Stdout) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(a.Stdout, true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(a.Stdout) },
	}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that makes a shell complete commands, flags, runs, tables and lists",
		Long: "completion prints a script for your shell. Load it where the shell looks for such\n" +
			"scripts: for bash /etc/bash_completion.d or ~/.bashrc (it needs the package\n" +
			"bash-completion), for zsh a folder of $fpath, for fish ~/.config/fish/completions,\n" +
			"for PowerShell its profile. Names of runs, tables and lists come from the job file\n" +
			"that the command line names, and from its workspace; no key is read for that, and\n" +
			"nobody is asked.",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE:      func(cmd *cobra.Command, args []string) error { return shells[args[0]](cmd.Root()) },
	}
}

// maxOffered bounds the list that a shell shows.
const maxOffered = 50

// addCompletions tells each flag and argument what it can be. What stands here
// for a command or a flag that is not there is an error of the program, which
// a test finds.
func (a *app) addCompletions(root *cobra.Command) error {
	for _, f := range []struct {
		command, flag string
		values        cobra.CompletionFunc
	}{
		{"", "log-format", words("text", "json")},
		{"", "output", words("text", "json")},
		{"", "progress", words("auto", "plain", "none")},
		{"", "config", filesOf("yaml", "yml")},
		{"schedule", "config", filesOf("yaml", "yml")},
		{"schedule", "listen", words(listenDefault, "off")},
		{"gate", "table", a.offer(tableNames)},
		{"gate", "clean", filesOf("parquet")},
		{"plan", "out", filesOf("json")},
		{"run", "plan", filesOf("json")},
		{"run", "override", words(wire.Overridable()...)},
		{"report", "run", a.offer(a.runIDs)},
		{"report", "format", words("text", "json")},
		{"report", "evidence", filesOf("zip")},
		{"report", "signing-key", filesOf("pem", "key")},
		{"report", "workspace", folders},
		{"runs", "workspace", folders},
		{"runs show", "workspace", folders},
		{"verify", "workspace", folders},
		{"unflag", "off-list", a.offer(listNames)},
		{"suppress remove", "source", a.offer(listNames)},
		{"suppress import", "source", a.offer(listNames)},
		{"suppress import", "format", words("csv", "jsonl", "parquet")},
		{"suppress import", "time-unit", words("s", "ms", "rfc3339", "timestamp")},
		{"suppress import", "override", words("max_quarantined")},
		{"operator import", "format", words("csv", "jsonl", "parquet")},
		{"operator import", "time-unit", words("s", "ms", "rfc3339", "timestamp")},
		{"operator import", "optout-log", folders},
		{"operator import", "scope", words(string(schemas.EUID), string(schemas.UID2))},
		{"operator import", "environment", words(string(schemas.Production), string(schemas.Integration))},
		{"operator serve", "optout-log", folders},
		{"operator serve", "clients", filesOf("json")},
		{"operator serve", "scope", words(string(schemas.EUID), string(schemas.UID2))},
		{"operator serve", "environment", words(string(schemas.Production), string(schemas.Integration))},
		{"operator key new", "clients", filesOf("json")},
		{"operator key new", "scope", words(string(schemas.EUID), string(schemas.UID2))},
		{"operator key new", "environment", words(string(schemas.Production), string(schemas.Integration))},
		{"docs man", "out", folders},
	} {
		c, _, err := root.Find(strings.Fields(f.command))
		if err == nil {
			err = c.RegisterFlagCompletionFunc(f.flag, f.values)
		}
		if err != nil {
			return err
		}
	}
	for path, values := range map[string]cobra.CompletionFunc{
		"runs show": func(cmd *cobra.Command, args []string, given string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.offer(a.runIDs)(cmd, args, given)
		},
		"gate":    filesOf("parquet"),
		"verify":  filesOf("zip"),
		"prove":   cobra.NoFileCompletions, // ids are never arguments
		"unflag":  cobra.NoFileCompletions,
		"run":     cobra.NoFileCompletions,
		"plan":    cobra.NoFileCompletions,
		"version": cobra.NoFileCompletions,
	} {
		c, _, err := root.Find(strings.Fields(path))
		if err != nil {
			return err
		}
		c.ValidArgsFunction = values
	}
	return nil
}

func words(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

func filesOf(extensions ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt)
}

func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// offer completes with names that come from the job; none if there is no job
// that can be read: a shell is no place for errors.
func (a *app) offer(names func(*cobra.Command, *config.Job) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, given string) ([]string, cobra.ShellCompDirective) {
		if a.fromEnvironment(cmd.Flags()) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		job, err := a.loadJob()
		if err != nil {
			job = nil
		}
		found := slices.DeleteFunc(names(cmd, job), func(name string) bool { return !strings.HasPrefix(name, given) })
		return found[:min(len(found), maxOffered)], cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func tableNames(_ *cobra.Command, job *config.Job) (names []string) {
	if job == nil {
		return nil
	}
	for _, t := range job.Tables {
		names = append(names, t.Name)
	}
	return names
}

// listNames are the own lists, each with the reason for it.
func listNames(_ *cobra.Command, job *config.Job) (names []string) {
	if job == nil {
		return nil
	}
	lists, err := wire.ListSuppression(job)
	if err != nil {
		return nil
	}
	for _, l := range lists {
		names = append(names, cobra.CompletionWithDesc(l.Status().Source, l.Status().Basis))
	}
	return names
}

// runIDs are the runs of the workspace, the last one first, each with its
// status.
func (a *app) runIDs(cmd *cobra.Command, job *config.Job) (names []string) {
	dir := ""
	if f := cmd.Flags().Lookup("workspace"); f != nil {
		dir = f.Value.String()
	}
	if dir == "" && job != nil {
		dir = job.Workspace
	}
	if dir == "" {
		return nil
	}
	if _, err := wire.Reports(dir, func(r schemas.Report) error {
		names = append(names, cobra.CompletionWithDesc(r.Run, r.Status))
		return nil
	}); err != nil {
		return nil
	}
	slices.Reverse(names)
	return names
}
