// Package cli is the command line: one file for each command. It parses flags,
// calls wire, prints what comes back, and turns errors into exit codes.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// Surroundings are what a command gets from the process.
type Surroundings struct {
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	LookupEnv func(string) (string, bool)
}

// Run runs the command that args name and returns its exit code.
func Run(ctx context.Context, args []string, s Surroundings) int {
	wire.Prepare()
	stdout := &masked{w: s.Stdout}
	s.Stdout = stdout
	a := &app{Surroundings: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.Stdin)
	root.SetOut(s.Stdout)
	root.SetErr(s.Stderr)
	err := root.ExecuteContext(ctx)
	if flushErr := stdout.flush(); err == nil {
		err = flushErr
	}
	if err == nil {
		return 0
	}
	var classed *schemas.Error
	switch {
	case errors.As(err, &classed):
	case ctx.Err() != nil:
		err = schemas.Errorf(schemas.Cancelled, "cancelled")
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "required flag"), strings.HasPrefix(err.Error(), "if any flags"), strings.Contains(err.Error(), " arg(s), "):
		err = schemas.Errorf(schemas.Usage, "%v", err).WithHint("see: optsweep --help") // cobra has no type for these
	}
	a.printError(err)
	return exitCode(err)
}

// app holds the global flags.
type app struct {
	Surroundings
	config    string
	logFormat string
	progress  string
	output    string
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "optsweep",
		Short:         "Honour EUID and UID2 opt-outs in warehouse data",
		Long:          "optsweep takes raw EUIDs or raw UID2s out of tables, asks an operator which of\nthem are opted out, and writes opted_out_since back.\n\n" + exitCodeHelp(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.fromEnvironment(cmd.Flags())
		},
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.config, "config", "c", "optsweep.yaml", "job file")
	f.StringVar(&a.logFormat, "log-format", "text", "text or json, on standard error")
	f.StringVar(&a.progress, "progress", "auto", "auto, plain or none")
	f.StringVar(&a.output, "output", "text", "text or json, on standard output")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return schemas.Errorf(schemas.Usage, "%v", err).WithHint("see: %s --help", cmd.CommandPath())
	})
	root.AddCommand(a.initCommand(), a.validateCommand(), a.planCommand(), a.runCommand(), a.checkCommand(),
		a.doctorCommand(), a.operatorCommand(), a.demoCommand(), a.versionCommand())
	root.AddCommand(a.proveCommand(), a.unflagCommand(), a.purgeCommand(), a.publishCommand())
	root.AddCommand(a.verifyCommand(), a.reportCommand(), a.runsCommand())
	root.AddCommand(a.suppressCommand(), a.gateCommand())
	root.AddCommand(a.scheduleCommand())
	root.AddCommand(a.completionCommand(), a.docsCommand())
	root.CompletionOptions.DisableDefaultCmd = true // completionCommand is ours
	addExamples(root)
	if err := a.addCompletions(root); err != nil {
		root.PersistentPreRunE = func(*cobra.Command, []string) error { return err }
	}
	return root
}

const envPrefix = "OPTSWEEP_"

// fromEnvironment sets every flag that was not given from OPTSWEEP_<FLAG>, and
// checks the global ones.
func (a *app) fromEnvironment(flags *pflag.FlagSet) error {
	var problems []string
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := a.LookupEnv(name); ok && !f.Changed {
			if err := flags.Set(f.Name, value); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", name, err))
			}
		}
	})
	for _, choice := range []struct{ flag, value, of string }{
		{"log-format", a.logFormat, "text json"},
		{"progress", a.progress, "auto plain none"},
		{"output", a.output, "text json"},
	} {
		if !strings.Contains(" "+choice.of+" ", " "+choice.value+" ") {
			problems = append(problems, fmt.Sprintf("--%s is %q, want one of: %s", choice.flag, choice.value, choice.of))
		}
	}
	if len(problems) > 0 {
		return schemas.Errorf(schemas.Usage, "%s", strings.Join(problems, "; "))
	}
	return nil
}

// system is what the composition root gets from the command line.
func (a *app) system() wire.System {
	return wire.System{
		LookupEnv: a.LookupEnv,
		Log:       a.logger(),
		Progress:  a.newProgress(),
		Now:       time.Now,
	}
}

func (a *app) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if a.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(&masked{w: a.Stderr}, options))
	}
	return slog.New(slog.NewTextHandler(&masked{w: a.Stderr}, options))
}

func (a *app) loadJob() (*config.Job, error) {
	job, err := config.Load(a.config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, schemas.Errorf(schemas.Usage, "there is no job file %s", a.config).
			WithHint("make one with: optsweep init; or name yours with --config")
	}
	return job, err
}

// printError writes the error, and on its own line what to do about it.
func (a *app) printError(err error) {
	w := &masked{w: a.Stderr}
	if a.output == "json" {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"error": err.Error(), "hint": schemas.HintOf(err), "class": schemas.ClassOf(err).String(), "exit_code": exitCode(err),
		})
		return
	}
	fmt.Fprintf(w, "optsweep: %s\n", err)
	if hint := schemas.HintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) onTerminal() bool {
	f, ok := a.Stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
