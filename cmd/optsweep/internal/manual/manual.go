// Package manual writes the manual of a command line out of its commands: one
// man page for each, and a reference of all in Markdown. The same commands give
// the same bytes: there is no date and no version in them.
package manual

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Entry is a line of a list: an exit code, a variable, a file.
type Entry struct{ Name, Means string }

// Book is what the manual is made of.
type Book struct {
	Root      *cobra.Command
	ExitCodes []Entry
	Variables []Entry // besides those of flags
	Files     []Entry
	EnvPrefix string // every flag can be set by a variable of this prefix; empty: by none
	Without   string // text that help has and the manual does not, since it says it elsewhere
}

// commands are those that the manual is about, each before those below it.
func (b Book) commands() []*cobra.Command {
	var out []*cobra.Command
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		out = append(out, c)
		for _, below := range c.Commands() {
			if below.IsAvailableCommand() && below.Name() != "help" {
				add(below)
			}
		}
	}
	add(b.Root)
	return out
}

// way is how a command is called.
func way(c *cobra.Command) string {
	if !c.HasParent() {
		return c.Name() + " COMMAND [flags]"
	}
	return c.UseLine()
}

// ownFlags are the flags of a command without those of all commands and --help.
func ownFlags(c *cobra.Command) []*pflag.Flag {
	var out []*pflag.Flag
	own := c.NonInheritedFlags()
	if c.HasParent() {
		own = c.LocalFlags()
	}
	own.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			out = append(out, f)
		}
	})
	return out
}

// spelt is a flag as it is typed, with what it takes.
func spelt(f *pflag.Flag) string {
	text := "--" + f.Name
	if f.Shorthand != "" {
		text = "-" + f.Shorthand + ", " + text
	}
	if kind := takes(f); kind != "" {
		text += " " + kind
	}
	return text
}

// takes is what a flag takes, in capitals; "" for one that is there or not.
func takes(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return ""
	case "int", "int64":
		return "N"
	case "stringSlice":
		return "TEXT[,TEXT]"
	}
	return "TEXT"
}

// byDefault is the default of a flag, or "" if it is nothing.
func byDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "[]", "0", "false":
		return ""
	}
	return strings.Trim(f.DefValue, "[]")
}

// variable is the environment variable of a flag.
func (b Book) variable(f *pflag.Flag) string {
	if b.EnvPrefix == "" {
		return ""
	}
	return b.EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// block is a piece of help: a paragraph, or lines that stay as they are.
type block struct {
	fixed bool
	lines []string
}

// blocks parts help into pieces. Lines that begin with white space stay as they
// are; a line that continues an item of a list is a part of it.
func blocks(text string) []block {
	var out []block
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		fixed := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		switch {
		case strings.TrimSpace(line) == "":
			out = append(out, block{})
			continue
		case len(out) == 0 || len(out[len(out)-1].lines) > 0 && out[len(out)-1].fixed != fixed:
			out = append(out, block{fixed: fixed})
		}
		last := &out[len(out)-1]
		last.fixed = fixed
		last.lines = append(last.lines, line)
	}
	return slices.DeleteFunc(out, func(b block) bool { return len(b.lines) == 0 })
}

// long is what help says of a command, or its short text.
func (b Book) long(c *cobra.Command) []block {
	text := c.Long
	if b.Without != "" {
		text = strings.ReplaceAll(text, b.Without, "")
	}
	if strings.TrimSpace(text) == "" {
		text = c.Short + "."
	}
	return blocks(text)
}

// examples are the lines of a command's examples, without their indent.
func examples(c *cobra.Command) []string {
	var out []string
	for line := range strings.Lines(c.Example) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
