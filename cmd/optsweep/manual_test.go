package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"optsweep/cmd/optsweep/internal/cli"
	"optsweep/schemas"
)

// each calls do for every command of the program.
func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, below := range c.Commands() {
		each(below, do)
	}
}

// The committed manual is what the program writes.
func TestManualIsUpToDate(t *testing.T) {
	dir := t.TempDir()
	man := filepath.Join(dir, "man")
	if err := os.Mkdir(man, 0o755); err != nil {
		t.Fatal(err)
	}
	mustSucceed(t, program(t.Context(), t, "docs", "man", "--out", man))
	mustSucceed(t, program(t.Context(), t, "docs", "markdown", "--out", filepath.Join(dir, "commands.md")))
	want, err := digests(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := digests("docs")
	if err != nil {
		t.Fatal(err)
	}
	if !sameDigests(got, want) || len(want) < 30 {
		t.Errorf("cmd/optsweep/docs is not what the program writes (%d files, want %d): remove docs/man/*.1 if a command is gone, and run go generate ./cmd/optsweep", len(got), len(want))
	}
	schema := filepath.Join(dir, "schema.json")
	mustSucceed(t, program(t.Context(), t, "docs", "schema", "--out", schema))
	if data, err := os.ReadFile(schema); err != nil || !bytes.Equal(data, schemas.JobSchema()) {
		t.Errorf("docs schema writes something else, %v", err)
	}
}

// README has the exit codes that the program has.
func TestReadmeHasTheExitCodes(t *testing.T) {
	var found [2]string
	for i, path := range []string{"docs/commands.md", filepath.Join(moduleRoot, "README.md")} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(data), "\n## Exit codes\n")
		section, _, _ := strings.Cut(rest, "\n## ")
		for _, m := range regexp.MustCompile("(?m)^\\| `?([0-9]+)`? \\|").FindAllStringSubmatch(section, -1) {
			found[i] += m[1] + " "
		}
		if !ok || found[i] == "" {
			t.Fatalf("%s has no exit codes", path)
		}
	}
	if found[0] != found[1] {
		t.Errorf("the program has the exit codes %s, README %s", found[0], found[1])
	}
}

// Every command has a text and examples that would work, and every flag says
// what it is for.
func TestEveryCommandIsDescribed(t *testing.T) {
	n := 0
	each(cli.Commands(), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short text is %q", c.CommandPath(), c.Short)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no text", c.CommandPath(), f.Name)
			}
		})
		if c.HasSubCommands() && c.LocalNonPersistentFlags().NFlag() == 0 && c.Example == "" {
			return // only groups others
		}
		n++
		if c.Example == "" {
			t.Errorf("%s has no examples: add some in internal/cli/examples.go", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			if err := checkCommands(line, true); err != nil {
				t.Error(err)
			}
			if !strings.Contains(line, c.CommandPath()) {
				t.Errorf("the example is not about %s: %s", c.CommandPath(), line)
			}
		}
	})
	if n < 25 {
		t.Errorf("only %d commands", n)
	}
}

// The script passes whole through what masks the output.
func TestCompletionScripts(t *testing.T) {
	root := cli.Commands()
	var bash, zsh, fish, power bytes.Buffer
	if err := root.GenBashCompletionV2(&bash, true); err != nil {
		t.Fatal(err)
	}
	if err := root.GenZshCompletion(&zsh); err != nil {
		t.Fatal(err)
	}
	if err := root.GenFishCompletion(&fish, true); err != nil {
		t.Fatal(err)
	}
	if err := root.GenPowerShellCompletionWithDesc(&power); err != nil {
		t.Fatal(err)
	}
	for shell, want := range map[string]*bytes.Buffer{"bash": &bash, "zsh": &zsh, "fish": &fish, "powershell": &power} {
		out, err := program(t.Context(), t, "completion", shell).Output()
		if err != nil || !bytes.Equal(out, want.Bytes()) || len(out) < 1000 {
			t.Errorf("%s: %d bytes, want %d, %v", shell, len(out), want.Len(), err)
		}
	}
}

// TestBashCompletes presses the tab key in bash.
func TestBashCompletes(t *testing.T) {
	dir := t.TempDir()
	demo := filepath.Join(dir, "d")
	mustSucceed(t, program(t.Context(), t, "demo", "--rows", "500", "--dir", demo, "--no-run"))
	job := filepath.Join(demo, "optsweep.yaml")
	mustSucceed(t, program(t.Context(), t, "run", "--config", job))
	runs, err := filepath.Glob(filepath.Join(demo, "workspace", "runs", "*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	csv := filepath.Join(dir, "own.csv")
	if err := os.WriteFile(csv, []byte("id\nEAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSucceed(t, program(t.Context(), t, "suppress", "import", "--config", job, "--source", "site-form", "--basis", "a form", "--format", "csv", "--id-column", "id", "--since", "2026-01-01", csv))
	if err := os.MkdirAll(filepath.Join(dir, "in", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.yaml", "b.txt"} {
		if err := os.WriteFile(filepath.Join(dir, "in", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"optsweep sc", "schedule"},
		{"optsweep run --dry", "--dry-run"},
		{"optsweep run --override max_r", "max_row_drop"},
		{"optsweep operator key ", "new"},
		{"optsweep --output ", "json text"},
		{"optsweep completion z", "zsh"},
		{"optsweep gate --config d/optsweep.yaml --table ", "crm"},
		{"optsweep gate --config none.yaml --table ", ""},
		{"optsweep runs --config d/optsweep.yaml show ", filepath.Base(runs[0])},
		{"optsweep runs show --workspace d/workspace ", filepath.Base(runs[0])},
		{"optsweep report --config d/optsweep.yaml --run 2", filepath.Base(runs[0])},
		{"optsweep suppress remove --config d/optsweep.yaml --source s", "site-form"},
		{"optsweep unflag --config d/optsweep.yaml --off-list ", "site-form"},
		{"optsweep run --config in/", "in/a.yaml in/sub"},
		{"optsweep prove ", ""},
	} {
		// compopt works in a completion only; the words before the cursor come
		// from a function of the package bash-completion.
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", `
source <(optsweep completion bash)
compopt() { :; }
_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
_filedir() { [ "${1-}" != -d ] || { COMPREPLY=($(compgen -d -- "$cur")); return; }
  COMPREPLY=($(compgen -d -- "$cur") $(compgen -f -X "!*.@(${1-*})" -- "$cur")); }
shopt -s extglob
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE != *" " ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
set +eu
__start_optsweep
for reply in "${COMPREPLY[@]}"; do echo "${reply%%  *}"; done | sort`)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LINE="+c.line)
		out, err := cmd.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != c.want {
			t.Errorf("%q gives %q, want %q, %v", c.line, got, c.want, err)
		}
	}
}
