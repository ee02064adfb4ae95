package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/cli"
)

// shellWords parts a piece of shell script into its simple commands, each a
// list of words. It knows quotes, comments, continued lines, redirections and
// the operators between commands, and expands nothing.
func shellWords(script string) [][]string {
	var commands [][]string
	var words []string
	var word strings.Builder
	inWord, skipNext := false, false
	endWord := func() {
		if inWord && !skipNext {
			words = append(words, word.String())
		}
		if inWord {
			skipNext = false
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words, skipNext = nil, false
	}
	text := strings.ReplaceAll(script, "\\\n", " ")
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				end = len(text) - i - 1
			}
			word.WriteString(text[i+1 : i+1+end])
			inWord = true
			i += end + 1
		case c == '#' && !inWord:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == ' ' || c == '\t':
			endWord()
		case strings.IndexByte("\n;&|()", c) >= 0:
			endCommand()
		case c == '<' || c == '>':
			if strings.Trim(word.String(), "0123456789") == "" {
				word.Reset() // the file descriptor in front of a redirection
				inWord = false
			}
			endWord()
			skipNext = true // the file of a redirection
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	endCommand()
	return commands
}

func TestShellWords(t *testing.T) {
	got := fmt.Sprintf("%q", shellWords("a 'b c' \"d\" # e\nf \\\n  --g=h && i < j | k > l m 2> n; source <(o p)"))
	if want := `[["a" "b c" "d"] ["f" "--g=h"] ["i"] ["k" "m"] ["source"] ["o" "p"]]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// checkCommands tells what is wrong with the commands of a script as far as it
// shows without running them: commands and flags of optsweep, targets of make
// and folders that go is given must be there. Whole commands must also have the
// arguments and flags that they need.
func checkCommands(script string, whole bool) error {
	var problems []error
	for _, words := range shellWords(script) {
		for len(words) > 0 && assignment.MatchString(words[0]) {
			words = words[1:]
		}
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "optsweep":
			problems = append(problems, checkArgs(words[1:], whole))
		case "make":
			problems = append(problems, checkTargets(words[1:]))
		case "go":
			problems = append(problems, checkFolders(words[1:]))
			if at := slices.Index(words, "./cmd/optsweep"); at > 0 && words[1] == "run" {
				problems = append(problems, checkArgs(words[at+1:], whole))
			}
		}
	}
	return errors.Join(problems...)
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

func checkArgs(args []string, whole bool) error {
	fail := func(err error) error { return fmt.Errorf("optsweep %s: %w", strings.Join(args, " "), err) }
	root := cli.Commands()
	c, rest, err := root.Find(args)
	if err != nil {
		return fail(err)
	}
	if c.HasSubCommands() && !c.HasParent() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fail(fmt.Errorf("there is no command %s", rest[0]))
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return fail(err)
	}
	if help, _ := c.Flags().GetBool("help"); help || !whole {
		return nil
	}
	for _, check := range []func(c *cobra.Command) error{
		func(c *cobra.Command) error { return c.ValidateArgs(c.Flags().Args()) },
		(*cobra.Command).ValidateRequiredFlags, (*cobra.Command).ValidateFlagGroups,
	} {
		if err := check(c); err != nil {
			return fail(err)
		}
	}
	return nil
}

func checkTargets(targets []string) error {
	data, err := os.ReadFile(filepath.Join(moduleRoot, "Makefile"))
	if err != nil {
		return err
	}
	for _, target := range targets {
		if !strings.Contains(string(data), "\n"+target+":") {
			return fmt.Errorf("make %s: there is no such target", target)
		}
	}
	return nil
}

func checkFolders(args []string) error {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "./") {
			continue
		}
		if _, err := os.Stat(filepath.Join(moduleRoot, strings.TrimSuffix(arg, "..."))); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// moduleRoot is where go test runs this package, two folders up.
const moduleRoot = "../.."

func TestCheckCommands(t *testing.T) {
	for script, want := range map[string]string{
		"optsweep run --dry-run && optsweep runs show X": "",
		"optsweep --help; optsweep run --help":           "",
		"A=b optsweep runn":                              "there is no command runn",
		"optsweep run --dryrun":                          "unknown flag",
		"optsweep runs show":                             "accepts 1 arg",
		"optsweep operator key neww":                     "unknown command",
		"optsweep unflag < id.txt":                       "required flag",
		"optsweep purge --older-than 2y --ids 3d":        "none of the others can be",
		"make emulator; make nothing":                    "there is no such target",
		"go test ./jobs/... ./nowhere":                   "no such file",
		"go run ./cmd/optsweep demoo":                    "there is no command demoo",
	} {
		if err := checkCommands(script, true); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", script, err, want)
		}
	}
	if err := checkCommands("optsweep unflag", false); err != nil {
		t.Error(err)
	}
}
