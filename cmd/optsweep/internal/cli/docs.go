package cli

import (
	"bytes"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/manual"
	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/schemas"
)

// Commands is the whole command line, to be looked at.
func Commands() *cobra.Command {
	a := &app{Surroundings: Surroundings{
		Stdin: bytes.NewReader(nil), Stdout: io.Discard, Stderr: io.Discard,
		LookupEnv: func(string) (string, bool) { return "", false },
	}}
	return a.root()
}

func book(root *cobra.Command) manual.Book {
	b := manual.Book{
		Root: root, EnvPrefix: envPrefix, Without: exitCodeHelp(),
		ExitCodes: []manual.Entry{{Name: "0", Means: "reconciled"}},
		Variables: []manual.Entry{
			{Name: "GOOGLE_APPLICATION_CREDENTIALS", Means: "key file of a service account for BigQuery, unless bigquery.key_file names one"},
			{Name: "HTTPS_PROXY, HTTP_PROXY, NO_PROXY", Means: "proxy for requests to operators, receivers of messages and BigQuery"},
			{Name: "SSL_CERT_FILE, SSL_CERT_DIR", Means: "certificates to trust in place of the system's"},
			{Name: "TMPDIR", Means: "folder of the locks on API keys, /tmp by default; the same for all runs of a machine, or they do not see each other"},
			{Name: "ZONEINFO", Means: "time zones to use in place of those of the system and of the program"},
			{Name: "the names in the job file", Means: "what {env: NAME} in a job file names: keys, secrets, and URLs that hold one"},
		},
		Files: []manual.Entry{
			{Name: "optsweep.yaml", Means: "the job file, unless --config names another; its schema: optsweep docs schema"},
			{Name: "plan.json", Means: "what optsweep plan writes, unless --out names another"},
			{Name: "workspace/", Means: "all that runs leave behind, in the folder that the job file names; files with ids have mode 0600"},
		},
	}
	for _, e := range exitCodes {
		if e.means != "" {
			b.ExitCodes = append(b.ExitCodes, manual.Entry{Name: strconv.Itoa(e.code), Means: e.means})
		}
	}
	return b
}

func (a *app) docsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "docs",
		Short: "Write man pages, the command reference, or the schema of job files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir string
	man := &cobra.Command{
		Use:   "man --out DIR",
		Short: "Write the man pages of all commands into a folder",
		Long:  "man writes one page of section 1 for each command, optsweep.1 first. Read them\nwith: man ./optsweep.1",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, page := range book(cmd.Root()).Man() {
				if err := wire.WriteWhole(filepath.Join(dir, name), whole(page)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	man.Flags().StringVar(&dir, "out", "", "folder for the pages, which must be there")
	require(man, "out")
	c.AddCommand(man,
		a.documentCommand("markdown", "Write the reference of all commands in Markdown", "",
			func(root *cobra.Command) []byte { return book(root).Markdown() }),
		a.documentCommand("schema", "Write the JSON Schema of job files, for editors",
			"schema writes the JSON Schema (draft 2020-12) of job files. An editor that knows the\n"+
				"YAML language server completes and checks a job file whose first line is\n\n"+
				"  # yaml-language-server: $schema=job.schema.json\n\n"+
				"optsweep validate checks all that and more.",
			func(*cobra.Command) []byte { return schemas.JobSchema() }))
	return c
}

// documentCommand is a command that writes one document.
func (a *app) documentCommand(name, short, long string, make func(root *cobra.Command) []byte) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: name, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := whole(make(cmd.Root()))
			if out != "" {
				return wire.WriteWhole(out, write)
			}
			return write(a.Stdout)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default: standard output)")
	return c
}

func whole(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// addExamples puts the examples to their commands.
func addExamples(root *cobra.Command) {
	for path, lines := range commandExamples {
		if c, _, err := root.Find(strings.Fields(path)); err == nil {
			c.Example = "  " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n  ")
		}
	}
}
