package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/jobs/config"
	"optsweep/jobs/report"
	"optsweep/schemas"
)

func (a *app) operatorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "operator",
		Short: "The embedded operator: serve it, make keys, import and inspect opt-out logs",
		Long: "The embedded operator answers from opt-out logs that you lawfully hold. It is not\n" +
			"an accredited Private Operator and does not receive the official logs.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	key := &cobra.Command{
		Use: "key", Short: "Manage the keys of the embedded operator", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	key.AddCommand(a.keyNewCommand())
	c.AddCommand(a.serveCommand(), key, a.importCommand(), a.inspectCommand())
	return c
}

// rulesFlags adds --scope and --environment.
type rulesFlags struct{ scope, environment string }

func (r *rulesFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&r.scope, "scope", "euid", "euid or uid2")
	c.Flags().StringVar(&r.environment, "environment", "production", "production or integration")
}

func (r *rulesFlags) rules() (rules schemas.Rules, err error) {
	if rules.Scope, err = schemas.ParseScope(r.scope); err != nil {
		return rules, schemas.Errorf(schemas.Usage, "--scope: %w", err)
	}
	if rules.Environment, err = schemas.ParseEnvironment(r.environment); err != nil {
		return rules, schemas.Errorf(schemas.Usage, "--environment: %w", err)
	}
	return rules, nil
}

func (a *app) serveCommand() *cobra.Command {
	var o wire.ServeOptions
	var flags rulesFlags
	var tokenEnv, tokenFile string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the embedded operator over HTTP",
		Long: "serve answers POST /v2/optout/status as an operator does, from a folder of opt-out\n" +
			"log files that is read again every minute, and /ops/healthcheck and /metrics.\n" +
			"It stops on SIGTERM once the requests under way are answered.\n\n" + wire.FaultHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Rules, err = flags.rules(); err != nil {
				return err
			}
			if (o.CertFile == "") != (o.KeyFile == "") {
				return schemas.Errorf(schemas.Usage, "--tls-cert and --tls-key go together")
			}
			if o.IntakePath != "" && (tokenEnv == "") == (tokenFile == "") {
				return schemas.Errorf(schemas.Usage, "--intake-path needs one of --intake-token-env and --intake-token-file")
			}
			o.IntakeToken = config.SecretRef{Env: tokenEnv, File: tokenFile}
			return wire.ServeOperator(cmd.Context(), a.system(), o, func(address string) {
				fmt.Fprintf(a.Stdout, "listening on %s\n", address)
			})
		},
	}
	flags.add(c)
	f := c.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address to listen on")
	f.StringVar(&o.OptOutLog, "optout-log", "", "folder of opt-out log files")
	f.BoolVar(&o.AllowEmpty, "allow-empty", false, "start although the folder holds no opt-out: everybody is clear then")
	f.StringVar(&o.Clients, "clients", "", "clients file, see: optsweep operator key new")
	f.IntVar(&o.MaxIDs, "max-ids", 5000, "ids in one request")
	f.StringVar(&o.CertFile, "tls-cert", "", "certificate file (PEM); without it plain HTTP")
	f.StringVar(&o.KeyFile, "tls-key", "", "key file of the certificate (PEM)")
	f.StringVar(&o.Faults, "fault", "", "faults to inject, to test clients")
	f.StringVar(&o.IntakePath, "intake-path", "", "path that takes in the DSP opt-out webhook, such as /webhook/optout")
	f.StringVar(&tokenEnv, "intake-token-env", "", "environment variable with the bearer token of the webhook")
	f.StringVar(&tokenFile, "intake-token-file", "", "file with the bearer token of the webhook")
	f.StringVar(&o.IntakeIDParam, "intake-id-param", "", "query parameter of the webhook with the id (default uid2)")
	f.StringVar(&o.IntakeTimeParam, "intake-time-param", "", "query parameter of the webhook with the time in seconds (default timestamp)")
	f.IntVar(&o.Replica, "replica", 0, "number of this producer in the names of log files")
	require(c, "optout-log", "clients")
	return c
}

// require marks flags that must be given; the names are those of flags above.
func require(c *cobra.Command, names ...string) {
	for _, name := range names {
		_ = c.MarkFlagRequired(name)
	}
}

func (a *app) keyNewCommand() *cobra.Command {
	var o wire.KeyOptions
	var flags rulesFlags
	var clients, keyFile, secretFile string
	c := &cobra.Command{
		Use:   "new",
		Short: "Make an API key with its client secret, and add it to the clients file",
		Long:  "new writes the key and the secret into new files that only you can read, and a\nrecord with the hash of the key into the clients file. It prints neither.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rules, err := flags.rules()
			if err != nil {
				return err
			}
			o.Scope, o.Environment = rules.Scope, rules.Environment
			name, err := wire.NewOperatorKey(o, clients, keyFile, secretFile)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(map[string]string{"key_id": name, "clients": clients, "key_file": keyFile, "secret_file": secretFile})
			}
			_, err = fmt.Fprintf(a.Stdout, "made key %s\nin a job file:\n  api_key: {file: %s}\n  client_secret: {file: %s}\n", name, keyFile, secretFile)
			return err
		},
	}
	flags.add(c)
	f := c.Flags()
	f.StringVar(&clients, "clients", "clients.json", "clients file to add to, or to make")
	f.StringVar(&keyFile, "key-file", "api_key", "new file for the API key")
	f.StringVar(&secretFile, "secret-file", "client_secret", "new file for the client secret")
	f.StringVar(&o.Name, "name", "optsweep", "name of the client")
	f.StringVar(&o.Contact, "contact", "", "contact of the client")
	f.IntVar(&o.SiteID, "site-id", 1, "site id of the client")
	f.StringSliceVar(&o.Roles, "roles", []string{"ID_READER"}, "roles of the client")
	return c
}

func (a *app) importCommand() *cobra.Command {
	var o wire.ImportOptions
	var flags rulesFlags
	var dir, format, unit string
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn a CSV, JSON lines or Parquet file into a file of the opt-out log",
		Long: "import reads ids and the times of their opt-outs. Without --skip-bad a file with a\n" +
			"bad row is refused whole.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Rules, err = flags.rules(); err != nil {
				return err
			}
			o.Path, o.Format, o.Unit = args[0], wire.ImportFormat(format), wire.ImportUnit(unit)
			result, err := wire.ImportOptOuts(cmd.Context(), a.system(), dir, o)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(result)
			}
			fmt.Fprintf(a.Stdout, "imported %s of %s rows into %s\n", report.Count(result.Imported), report.Count(result.Rows), result.Path)
			for reason, n := range result.Bad {
				fmt.Fprintf(a.Stdout, "left out: %s %s\n", report.Count(n), reason)
			}
			return nil
		},
	}
	flags.add(c)
	f := c.Flags()
	f.StringVar(&dir, "optout-log", "", "folder of the opt-out log")
	f.StringVar(&format, "format", "", "csv, jsonl or parquet")
	f.StringVar(&o.IDColumn, "id-column", "", "column with the id")
	f.StringVar(&o.TimeColumn, "time-column", "", "column with the time of the opt-out")
	f.StringVar(&unit, "time-unit", "", "s, ms, rfc3339, or timestamp (Parquet)")
	f.BoolVar(&o.SkipBad, "skip-bad", false, "leave bad rows out and count them")
	f.IntVar(&o.Writer.Replica, "replica", 0, "number of this producer in the name of the file")
	require(c, "optout-log", "format", "id-column", "time-column", "time-unit")
	return c
}

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect PATH",
		Short: "Tell what an opt-out log holds, without ids",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := wire.InspectOptOutLog(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.output == "json" {
				err = a.printJSON(found)
			} else {
				a.printInspection(found)
			}
			if err == nil && found.BadFiles > 0 {
				err = schemas.Errorf(schemas.Failed, "%d of %d files are damaged", found.BadFiles, len(found.Files)).
					WithHint("get them again from where they come from; an operator does not load them")
			}
			return err
		},
	}
}

func (a *app) printInspection(found wire.Inspection) {
	t := found.Total
	fmt.Fprintf(a.Stdout, "files      %d (%d empty, %d damaged)\n", len(found.Files), found.EmptyFiles, found.BadFiles)
	fmt.Fprintf(a.Stdout, "opt-outs   %s\n", report.Count(t.OptOuts))
	if t.OptOuts > 0 {
		fmt.Fprintf(a.Stdout, "from       %s\nto         %s\n", second(t.FirstS), second(t.LastS))
	}
	fmt.Fprintf(a.Stdout, "versions   v2 %s, v3 %s, v4 %s\n", report.Count(t.V2), report.Count(t.V3), report.Count(t.V4))
	fmt.Fprintf(a.Stdout, "scopes     euid %s, uid2 %s, not known %s\n", report.Count(t.EUID), report.Count(t.UID2), report.Count(t.V2))
	if t.Bad() > 0 {
		fmt.Fprintf(a.Stdout, "bad        %s entries: %s times, %s prefixes, %s checksums\n",
			report.Count(t.Bad()), report.Count(t.BadTime), report.Count(t.BadPrefix), report.Count(t.BadChecksum))
	}
	for _, f := range found.Files {
		if f.Problem != "" {
			fmt.Fprintf(a.Stdout, "damaged    %s: %s\n", f.Path, f.Problem)
		}
	}
}

func second(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }
