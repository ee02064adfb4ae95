//go:build unix

package main

// The doc test: what README.md and every other Markdown file of the repository
// tells people to type is typed here.
//
// The blocks between ``` of a file are taken in their order. Those in sh, bash or
// console are run by one bash, so that variables, files and the current folder
// go on from block to block; it starts in an empty folder, with optsweep on its
// path, and stops at the first command that fails. Those in yaml must be whole
// job files, which config and the published schema must take; those in json
// must be JSON. In all other text every mention of `optsweep COMMAND --flag` must
// be of a command and flags that are there.
//
// Comments in front of a block, which readers do not see, say what is different:
//
//	<!-- doctest: setup
//	COMMANDS                   run before the block, or at the end of the file; they
//	-->                        may use printid KIND DIR, which prints an id of a demo's
//	                           data, $FREE_ADDRESS and $FREE_ADDRESS_2, and $REPOSITORY
//	<!-- doctest: skip WHY --> not run: needs a cloud, say. Its commands, flags,
//	                           targets of make and folders for go are still checked.
//	<!-- doctest: exit N -->   the block ends with that exit code
//	<!-- doctest: root -->     run in the repository
//	<!-- doctest: serves ADDRESS -->  the block's last command stays: it must come to
//	                           listen there, and end with exit code 0 on SIGTERM
//	<!-- doctest: replace A with B -->  in the block, before it is run
//	<!-- doctest: file NAME -->  the block is also put into that file
//	<!-- doctest: part [NAME] -->  yaml that is a part of a job file: its keys take the
//	                           place of those of an example; also added to that file
//	<!-- doctest: other WHAT -->  yaml or json that is something else

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"optsweep/jobs/config"
	"optsweep/schemas"
)

// docBlock is a block between ``` with the markers in front of it; one without a
// language and text stands for the setup at the end of a file.
type docBlock struct {
	at       string // file and line
	language string
	text     string
	setup    []string
	markers  map[string]string // without setup and replace
	replace  [][2]string
}

func (b docBlock) is(languages ...string) bool { return slices.Contains(languages, b.language) }

func (b docBlock) marked(name string) bool { _, yes := b.markers[name]; return yes }

var (
	docMarker  = regexp.MustCompile(`(?s)^<!-- doctest: (\w+)[ \n]?(.*?)[ \n]?-->`)
	docFence   = regexp.MustCompile("^( *)(`{3,}|~{3,})\\s*([^\\s`]*)")
	docMarkers = []string{"setup", "skip", "exit", "root", "serves", "replace", "file", "part", "other"}
)

// docBlocks parts a file into its blocks, and gives the text around them.
func docBlocks(name, text string) (blocks []docBlock, prose string, err error) {
	var around strings.Builder
	next := docBlock{markers: map[string]string{}}
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		rest := strings.Join(lines[i:], "")
		if m := docMarker.FindStringSubmatch(rest); m != nil {
			switch kind, what := m[1], m[2]; {
			case !slices.Contains(docMarkers, kind):
				return nil, "", fmt.Errorf("%s:%d: there is no marker %q", name, i+1, kind)
			case kind == "setup":
				next.setup = append(next.setup, what)
			case kind == "replace":
				old, new, ok := strings.Cut(what, " with ")
				if !ok {
					return nil, "", fmt.Errorf("%s:%d: replace what with what?", name, i+1)
				}
				next.replace = append(next.replace, [2]string{old, new})
			default:
				next.markers[kind] = what
			}
			i += strings.Count(m[0], "\n")
			continue
		}
		fence := docFence.FindStringSubmatch(lines[i])
		if fence == nil {
			around.WriteString(lines[i])
			if strings.TrimSpace(lines[i]) != "" && len(next.markers)+len(next.replace) > 0 {
				return nil, "", fmt.Errorf("%s:%d: a marker stands before text that is no block", name, i+1)
			}
			continue
		}
		next.at, next.language = fmt.Sprintf("%s:%d", name, i+1), fence[3]
		var body strings.Builder
		for i++; ; i++ {
			if i >= len(lines) {
				return nil, "", fmt.Errorf("%s: the block does not end", next.at)
			}
			if strings.HasPrefix(strings.TrimSpace(lines[i]), fence[2]) {
				break
			}
			body.WriteString(strings.TrimPrefix(lines[i], fence[1]))
		}
		next.text = body.String()
		blocks = append(blocks, next)
		next = docBlock{markers: map[string]string{}}
	}
	if len(next.setup) > 0 {
		next.at = name + ": the end"
		blocks = append(blocks, next)
	}
	return blocks, around.String(), nil
}

// Commands are mentioned in code spans, and in blocks of other languages on lines
// of their own or from "optsweep" to the end of the quotes.
var (
	codeSpan = regexp.MustCompile("`(optsweep [^`]+)`")
	mention  = regexp.MustCompile(`(?m)^[ \t]*(optsweep [a-z].*)$|["'=/ ](optsweep [a-z][^"'#\n]*)`)
)

func docMentions(blocks []docBlock, prose string) (out []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(prose, -1) {
		out = append(out, strings.NewReplacer("[", "", "]", "", "|", " ", "\\ ", "").Replace(m[1]))
	}
	for _, b := range blocks {
		if b.is("sh", "bash", "console") || b.is("") && b.text == "" {
			continue
		}
		for _, m := range mention.FindAllStringSubmatch(b.text, -1) {
			out = append(out, m[1]+m[2])
		}
	}
	return out
}

// script is the bash script of a file: all that can be run of its blocks.
func docScript(blocks []docBlock) string {
	var s strings.Builder
	s.WriteString(docPrelude)
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	for _, b := range blocks {
		fmt.Fprintf(&s, "at=%s\n", quote("setup of "+b.at))
		for _, setup := range b.setup {
			fmt.Fprintf(&s, "%s\n", setup)
		}
		fmt.Fprintf(&s, "at=%s\n", quote(b.at))
		text := b.text
		for _, r := range b.replace {
			text = strings.ReplaceAll(text, r[0], r[1])
		}
		for _, marker := range []string{"file", "part"} {
			if to := b.markers[marker]; to != "" {
				fmt.Fprintf(&s, "cat %s %s <<'END OF BLOCK'\n%sEND OF BLOCK\n", map[string]string{"file": ">", "part": ">>"}[marker], quote(to), text)
			}
		}
		if !b.is("sh", "bash", "console") || b.marked("skip") {
			continue
		}
		if b.is("console") {
			text = typed(text)
		}
		switch address, code := b.markers["serves"], b.markers["exit"]; {
		case b.marked("serves"):
			fmt.Fprintf(&s, "set -m\n( trap : TERM\n%s) & server=$!\nset +m\nserved %s\n", text, address)
		case b.marked("exit"):
			fmt.Fprintf(&s, "code=0; set +e; trap - ERR\n( set -e\n%s)\ncode=$?; set -e; trap failed ERR\n[ $code = %s ] || { echo \"exit code $code\"; failed; }\n", text, code)
		case b.marked("root"):
			fmt.Fprintf(&s, "pushd \"$REPOSITORY\" >/dev/null\n%spopd >/dev/null\n", text)
		default:
			s.WriteString(text)
		}
	}
	return s.String()
}

const docPrelude = `set -eEuo pipefail
server=
failed() { echo "FAILED at $at: ${1-$BASH_COMMAND}"; [ -z "$server" ] || kill -TERM -- "-$server" 2>/dev/null; exit 1; }
trap failed ERR
trap 'kill -TERM $(jobs -p) 2>/dev/null || true; wait' EXIT
listening() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }
served() {
  until listening "$1"; do
    kill -0 $server 2>/dev/null || failed "the server has ended"
    sleep 0.05
  done
  kill -TERM -- -$server
  wait $server || failed "the server ended with exit code $?"
  server=
}
`

// typed are the lines of a session that were typed: those after "$ ".
func typed(text string) string {
	var s strings.Builder
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			s.WriteString(command)
		}
	}
	return s.String()
}

// checkDoc gives everything that is wrong with a file, but for what only shows
// when its commands are run.
func checkDoc(blocks []docBlock, prose string, validate func(any) error) error {
	var problems []error
	for _, b := range blocks {
		var err error
		switch {
		case b.is("sh", "bash"):
			err = checkCommands(b.text, true)
		case b.is("console"):
			err = checkCommands(typed(b.text), true)
		case b.marked("other"):
		case b.is("json"):
			if !json.Valid([]byte(b.text)) {
				err = errors.New("this is not JSON")
			}
		case b.is("yaml", "yml"):
			err = checkJobFile(b.text, b.marked("part"), validate)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", b.at, err))
		}
	}
	for _, m := range docMentions(blocks, prose) {
		if err := checkCommands(m, false); err != nil {
			problems = append(problems, fmt.Errorf("%q is mentioned: %w", m, err))
		}
	}
	return errors.Join(problems...)
}

// checkJobFile wants a job file that config and schema take. The keys of a part
// take the place of those of the shortest job.
func checkJobFile(text string, part bool, validate func(any) error) error {
	var given map[string]any
	if err := yaml.Unmarshal([]byte(text), &given); err != nil {
		return err
	}
	whole := given
	if part {
		whole = map[string]any{
			"version": 1, "job": "part", "scope": "euid", "environment": "production", "workspace": "workspace",
			"operator": map[string]any{"kind": "embedded", "optout_log": "optout"},
			"tables":   []any{map[string]any{"name": "crm", "parquet": map[string]any{"path": "data/*.parquet", "id_column": "euid"}}},
		}
		maps.Copy(whole, given)
		data, err := json.Marshal(whole)
		if err != nil {
			return err
		}
		text = string(data)
	}
	if _, err := config.Parse("block", []byte(text), "/jobs"); err != nil {
		return err
	}
	return validate(whole)
}

// jobSchema compiles the published schema of job files.
func jobSchema(t *testing.T) func(any) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemas.JobSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("job.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("job.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return s.Validate(instance)
	}
}

// runDoc runs the script of a file in an empty folder and gives what it printed.
func runDoc(t *testing.T, blocks []docBlock) (output string, err error) {
	t.Helper()
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	log, err := os.Create(filepath.Join(work, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	env := append(os.Environ(), "REPOSITORY="+root, "OPTSWEEP_PROGRESS=none", "TMPDIR="+filepath.Join(work, "tmp"))
	for _, name := range []string{"FREE_ADDRESS", "FREE_ADDRESS_2"} {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+address)
	}
	for _, dir := range []string{"tmp", "here"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", docScript(blocks))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(work, "here"), env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	if cmd.Process != nil {
		endGroup(cmd.Process.Pid)
	}
	data, readErr := os.ReadFile(log.Name())
	return string(data), errors.Join(err, readErr)
}

// endGroup ends what a script has left running after it failed or was stopped,
// and waits for that: nothing may write into a folder that is about to be removed.
// What has ended may still stand in the group, if nobody asks how it ended.
func endGroup(group int) {
	for n := 0; n < 400 && syscall.Kill(-group, 0) == nil; n++ {
		if n%100 == 0 {
			_ = syscall.Kill(-group, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[min(n/200, 1)])
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// Everything that the documents tell people to type works.
func TestDocuments(t *testing.T) {
	validate := jobSchema(t)
	ran := 0
	for _, name := range documents(t) {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(moduleRoot, name))
			if err != nil {
				t.Fatal(err)
			}
			blocks, prose, err := docBlocks(name, string(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := checkDoc(blocks, prose, validate); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(blocks, func(b docBlock) bool { return b.is("sh", "bash", "console") && !b.marked("skip") }) {
				return
			}
			ran++
			if output, err := runDoc(t, blocks); err != nil {
				t.Errorf("%v\n%s", err, output[max(0, len(output)-4000):])
			}
		})
	}
	if ran == 0 {
		t.Error("no file has a command that was run")
	}
}
