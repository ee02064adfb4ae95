//go:build unix

package main

import (
	"strings"
	"testing"
)

// The doc test finds what is wrong with a document, and only that.
func TestDocTest(t *testing.T) {
	job := "version: 1\njob: j\nscope: euid\nenvironment: production\noperator: {kind: embedded, optout_log: log}\nworkspace: ws\ntables: [{name: t, parquet: {path: 'd/*', id_column: id}}]\n"
	for _, c := range []struct{ name, text, want string }{
		{"plain text", "optsweep is a program.\n", ""},
		{"works", "```sh\noptsweep version\n```\n", ""},
		{"goes on", "```sh\na=1; touch f\n```\nthen\n```bash\n[ $a = 1 ] && [ -f f ]\n```\n", ""},
		{"console", "```console\n$ optsweep version\nnot this line\n```\n", ""},
		{"fails", "\n```sh\noptsweep version\nfalse\n```\n", "FAILED at doc.md:2: false"},
		{"fails in a pipe", "```sh\nfalse | cat\n```\n", "FAILED at doc.md:1"},
		{"fails in console", "```console\n$ false\n```\n", "FAILED at doc.md:1"},
		{"fails in a list", "- item\n\n  ```sh\n  false\n  ```\n", "FAILED at doc.md:3"},
		{"unknown command", "```sh\noptsweep runn\n```\n", "there is no command runn"},
		{"unknown flag of what is not run", "<!-- doctest: skip cloud -->\n```sh\noptsweep run --dryrun\n```\n", "unknown flag: --dryrun"},
		{"not run", "<!-- doctest: skip cloud -->\n```sh\nfalse && optsweep run\n```\n", ""},
		{"unknown flag in a code span", "use `optsweep run --dryrun`\n", "unknown flag: --dryrun"},
		{"unknown command in another language", "```ini\nExecStart=/usr/bin/optsweep runn --config x\n```\n", "there is no command runn"},
		{"setup", "<!-- doctest: setup\na=1\nb=2\n-->\n```sh\n[ $a$b = 12 ]\n```\n", ""},
		{"setup fails", "<!-- doctest: setup\nfalse\n-->\n```sh\ntrue\n```\n", "FAILED at setup of doc.md:4: false"},
		{"setup at the end", "```sh\ntrue\n```\n<!-- doctest: setup\nfalse\n-->\n", "FAILED at setup of doc.md: the end"},
		{"exit code", "<!-- doctest: exit 7 -->\n```sh\n(exit 7)\n```\n", ""},
		{"other exit code", "<!-- doctest: exit 7 -->\n```sh\ntrue\n```\n", "exit code 0\nFAILED at doc.md:2"},
		{"replace", "<!-- doctest: replace X with true -->\n```sh\nX\n```\n", ""},
		{"root", "<!-- doctest: root -->\n```sh\n[ -f go.mod ]\n```\n```sh\n[ ! -f go.mod ]\n```\n", ""},
		{"file", "<!-- doctest: file j.yaml -->\n```yaml\n" + job + "```\n```sh\noptsweep validate --config j.yaml\n```\n", ""},
		{"no job file", "```yaml\nversion: 2\n```\n", "version: must be 1"},
		{"part", "<!-- doctest: part -->\n```yaml\nschedule: {cron: '@daily'}\n```\n", ""},
		{"bad part", "<!-- doctest: part -->\n```yaml\nschedule: {corn: '@daily'}\n```\n", "schedule.corn: unknown key"},
		{"part put to a file", "<!-- doctest: file j.yaml -->\n```yaml\n" + job + "```\n<!-- doctest: part j.yaml -->\n```yaml\nlimits: {workers: 1}\n```\n```sh\noptsweep validate --config j.yaml && grep workers j.yaml\n```\n", ""},
		{"other yaml", "<!-- doctest: other x -->\n```yaml\na: b\n```\n", ""},
		{"bad JSON", "```json\n{a}\n```\n", "this is not JSON"},
		{"serves", "<!-- doctest: setup\noptsweep demo --no-run --rows 500 --dir d; optsweep operator key new\n-->\n<!-- doctest: serves $FREE_ADDRESS -->\n```sh\noptsweep operator serve --optout-log d/optout --clients clients.json --listen $FREE_ADDRESS\n```\n", ""},
		{"serves no longer", "<!-- doctest: serves $FREE_ADDRESS -->\n```sh\ntrue\n```\n", "FAILED at doc.md:2: the server has ended"},
		{"unknown marker", "<!-- doctest: skipp -->\n```sh\ntrue\n```\n", `there is no marker "skipp"`},
		{"marker before text", "<!-- doctest: skip x -->\ntext\n", "stands before text"},
		{"no end", "```sh\ntrue\n", "the block does not end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var output string
			blocks, prose, err := docBlocks("doc.md", c.text)
			if err == nil {
				err = checkDoc(blocks, prose, jobSchema(t))
			}
			if err == nil {
				output, err = runDoc(t, blocks)
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error()+"\n"+output, c.want) {
				t.Errorf("%v\n%s\nwant %q", err, output, c.want)
			}
		})
	}
}
