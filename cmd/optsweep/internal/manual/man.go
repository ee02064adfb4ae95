package manual

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Man gives the man pages of section 1 by file name, such as optsweep-run.1.
func (b Book) Man() map[string][]byte {
	pages := make(map[string][]byte)
	for _, c := range b.commands() {
		pages[pageName(c)+".1"] = b.page(c)
	}
	return pages
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// roff takes the meaning from the special characters of a line.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

func (b Book) page(c *cobra.Command) []byte {
	var w bytes.Buffer
	name := pageName(c)
	fmt.Fprintf(&w, ".TH %s 1 \"\" %s \"Manual of %s\"\n", strings.ToUpper(roff(name)), b.Root.Name(), b.Root.Name())
	fmt.Fprintf(&w, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&w, ".SH SYNOPSIS\n.B %s\n", roff(way(c)))
	w.WriteString(".SH DESCRIPTION\n")
	for i, part := range b.long(c) {
		switch {
		case part.fixed:
			fmt.Fprintf(&w, ".PP\n.nf\n")
		case i > 0:
			fmt.Fprintf(&w, ".PP\n")
		}
		for _, line := range part.lines {
			fmt.Fprintln(&w, roff(line))
		}
		if part.fixed {
			fmt.Fprintf(&w, ".fi\n")
		}
	}
	if c.HasAvailableSubCommands() {
		w.WriteString(".SH COMMANDS\n")
		for _, below := range c.Commands() {
			if below.IsAvailableCommand() && below.Name() != "help" {
				entry(&w, pageName(below)+"(1)", below.Short)
			}
		}
	}
	if flags := ownFlags(c); len(flags) > 0 {
		w.WriteString(".SH OPTIONS\n")
		for _, f := range flags {
			entry(&w, spelt(f), b.describe(f))
		}
	}
	if lines := examples(c); len(lines) > 0 {
		w.WriteString(".SH EXAMPLES\n.nf\n")
		for _, line := range lines {
			fmt.Fprintln(&w, roff(line))
		}
		w.WriteString(".fi\n")
	}
	if c.HasParent() {
		fmt.Fprintf(&w, ".SH SEE ALSO\n.BR %s (1)\nfor the options of all commands, exit status, environment and files.\n", roff(b.Root.Name()))
		return w.Bytes()
	}
	for _, part := range []struct {
		title   string
		entries []Entry
	}{{"EXIT STATUS", b.ExitCodes}, {"ENVIRONMENT", b.variables()}, {"FILES", b.Files}} {
		fmt.Fprintf(&w, ".SH %s\n", part.title)
		for _, e := range part.entries {
			entry(&w, e.Name, e.Means)
		}
	}
	return w.Bytes()
}

func entry(w *bytes.Buffer, name, means string) {
	fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(name), roff(means))
}

// describe is the usage of a flag with its default and its variable.
func (b Book) describe(f *pflag.Flag) string {
	text := f.Usage
	if d := byDefault(f); d != "" {
		text += " (default: " + d + ")"
	}
	if v := b.variable(f); v != "" {
		text += " [" + v + "]"
	}
	return text
}

// variables are those of all commands' flags in one entry, and the others.
func (b Book) variables() []Entry {
	if b.EnvPrefix == "" {
		return b.Variables
	}
	return append([]Entry{{b.EnvPrefix + "FLAG", "sets a flag that is not given: every flag has such a variable, named in brackets with it; the flag's name in capitals, with _ for -"}}, b.Variables...)
}
