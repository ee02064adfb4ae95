package manual

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Markdown gives the reference of all commands as one document.
func (b Book) Markdown() []byte {
	var w bytes.Buffer
	name := b.Root.Name()
	fmt.Fprintf(&w, "# Commands of %s\n\nThis file is made out of the program: `%s docs markdown`.\n\n", name, name)
	for _, c := range b.commands()[1:] {
		fmt.Fprintf(&w, "%s- [%s](#%s): %s\n", strings.Repeat("  ", strings.Count(c.CommandPath(), " ")-1), c.CommandPath(), anchor(c), escape(c.Short))
	}
	for _, c := range b.commands() {
		b.section(&w, c)
	}
	for _, part := range []struct {
		title   string
		entries []Entry
	}{{"Exit codes", b.ExitCodes}, {"Environment", b.variables()}, {"Files", b.Files}} {
		fmt.Fprintf(&w, "\n## %s\n\n| | |\n|---|---|\n", part.title)
		for _, e := range part.entries {
			fmt.Fprintf(&w, "| `%s` | %s |\n", e.Name, escape(e.Means))
		}
	}
	return w.Bytes()
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func (b Book) section(w *bytes.Buffer, c *cobra.Command) {
	fmt.Fprintf(w, "\n## %s\n\n", c.CommandPath())
	for _, part := range b.long(c) {
		if part.fixed {
			fmt.Fprintf(w, "```text\n%s\n```\n\n", strings.Join(part.lines, "\n"))
		} else {
			fmt.Fprintf(w, "%s\n\n", escape(strings.Join(part.lines, "\n")))
		}
	}
	fmt.Fprintf(w, "```text\n%s\n```\n", way(c))
	if lines := examples(c); len(lines) > 0 {
		fmt.Fprintf(w, "\n```text\n%s\n```\n", strings.Join(lines, "\n"))
	}
	flags := ownFlags(c)
	if len(flags) == 0 {
		return
	}
	w.WriteString("\n| flag | default | what |\n|---|---|---|\n")
	for _, f := range flags {
		standard := byDefault(f)
		if standard != "" {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", strings.ReplaceAll(spelt(f), "|", `\|`), standard, escape(f.Usage))
	}
}

// escape takes the meaning from what Markdown would take for markup.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`, "_", `\_`).Replace(text)
}
