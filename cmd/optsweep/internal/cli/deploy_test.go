package cli

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"optsweep/jobs/config"
)

const deployDir = "../../../../deploy"

// Each exit code has a runbook, each runbook of an exit code a code, and README
// names them all.
func TestEveryExitCodeHasARunbook(t *testing.T) {
	want := map[string]bool{}
	for _, e := range exitCodes {
		want[fmt.Sprintf("exit-%d.md", e.code)] = true
	}
	found, err := filepath.Glob(filepath.Join(deployDir, "runbooks", "exit-*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if name := filepath.Base(path); !want[name] {
			t.Errorf("%s is about a code that there is not", name)
		} else {
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
	readme, err := os.ReadFile(filepath.Join(deployDir, "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exitCodes {
		if !strings.Contains(string(readme), fmt.Sprintf("\n| %d | ", e.code)) {
			t.Errorf("README does not tell of %d", e.code)
		}
	}
}

// invocation is a call of the program in a text: after a shell prompt or in a
// list of arguments.
var invocation = regexp.MustCompile("(?m)(?:^|`|-- |exec |/usr/local/bin/)optsweep ([a-z][^`#|;&\\n\\\\]*)")

// Every command and flag that is named anywhere under deploy exists. Somebody
// reads a runbook at night.
func TestDeployNamesCommandsThatExist(t *testing.T) {
	n := 0
	err := filepath.WalkDir(deployDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".service", ".sh", ".txt"}, filepath.Ext(path)) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range invocation.FindAllStringSubmatch(string(data), -1) {
			args := strings.Fields(strings.ReplaceAll(m[1], "'", ""))
			if len(args) == 0 || strings.HasPrefix(args[0], "job") {
				continue
			}
			n++
			if problem := parses(args); problem != "" {
				t.Errorf("%s: optsweep %s: %s", path, m[1], problem)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 50 {
		t.Errorf("only %d commands found", n)
	}
}

// parses tells what is wrong with the arguments, without running anything.
func parses(args []string) string {
	a := &app{Surroundings: Surroundings{Stdout: io.Discard, Stderr: io.Discard, LookupEnv: func(string) (string, bool) { return "", false }}}
	root := a.root()
	c, rest, err := root.Find(args)
	if err != nil {
		return err.Error()
	}
	if c == root || c.HasSubCommands() && !c.Flags().HasFlags() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "no such command"
	}
	if err := c.ParseFlags(rest); err != nil {
		return err.Error()
	}
	if c.Flags().NFlag() == 0 {
		return "" // prose that only names the command
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err.Error()
	}
	if c.Args != nil {
		if err := c.Args(c, c.Flags().Args()); err != nil {
			return err.Error()
		}
	}
	return ""
}

// The arguments in manifests, where they are lists, exist as well.
func TestDeployedArgumentsExist(t *testing.T) {
	for path, want := range map[string][]string{
		"helm/optsweep/templates/cronjob.yaml": {"run"},
		"helm/optsweep/templates/init.yaml":    {"init"},
	} {
		data, err := os.ReadFile(filepath.Join(deployDir, path))
		if err != nil {
			t.Fatal(err)
		}
		args := regexp.MustCompile(`args: \[([^\]]*)\]`).FindStringSubmatch(string(data))
		if args == nil {
			t.Fatalf("%s has no args", path)
		}
		list := strings.Split(strings.ReplaceAll(args[1], " ", ""), ",")
		if list[0] != want[0] || parses(list) != "" {
			t.Errorf("%s: %v: %s", path, list, parses(list))
		}
	}
	for path, command := range map[string][]string{
		"helm/optsweep/templates/daemon.yaml":   {"schedule"},
		"helm/optsweep/templates/operator.yaml": {"operator", "serve"},
	} {
		data, err := os.ReadFile(filepath.Join(deployDir, path))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := (&app{}).root().Find(command)
		if err != nil {
			t.Fatal(err)
		}
		flags := regexp.MustCompile(`(?m)^ +- --([a-z-]+)`).FindAllStringSubmatch(string(data), -1)
		if len(flags) == 0 {
			t.Errorf("%s has no flags", path)
		}
		for _, m := range flags {
			if !known(c, m[1]) {
				t.Errorf("%s: optsweep %s has no --%s", path, strings.Join(command, " "), m[1])
			}
		}
	}
}

func known(c *cobra.Command, flag string) bool {
	return c.Flags().Lookup(flag) != nil || c.PersistentFlags().Lookup(flag) != nil || c.InheritedFlags().Lookup(flag) != nil
}

// Every job file under deploy is valid, those inside values of the chart, too.
func TestDeployedJobFilesAreValid(t *testing.T) {
	n := 0
	check := func(from string, data []byte) {
		n++
		path := filepath.Join(t.TempDir(), "job.yaml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("%s: %v", from, err)
		}
	}
	for _, pattern := range []string{"kubernetes/*/crm.yaml", "terraform/job.example.yaml"} {
		paths, err := filepath.Glob(filepath.Join(deployDir, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check(path, data)
		}
	}
	inValues := regexp.MustCompile(`(?m)^  [a-z]+\.yaml: \|\n((?:    .*\n)+)`)
	paths, err := filepath.Glob(filepath.Join(deployDir, "helm/optsweep/ci/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inValues.FindAllStringSubmatch(string(data), -1) {
			check(path, []byte(regexp.MustCompile(`(?m)^    `).ReplaceAllString(m[1], "")))
		}
	}
	if n < 9 {
		t.Errorf("only %d job files found", n)
	}
}
