package manual

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func testBook() Book {
	root := &cobra.Command{Use: "tool", Short: "Do things", Long: "Codes:\n  0 good\n\ntool does\nthings."}
	root.PersistentFlags().StringP("config", "c", "tool.yaml", "job file")
	sub := &cobra.Command{
		Use: "do_it [FILE]", Short: "Do | one thing", Long: ".dot at the start, a \\ and a -dash:\n  - fixed\n    lines\nand more", Example: "  tool do_it <x>",
		Run: func(*cobra.Command, []string) {},
	}
	sub.Flags().Bool("dry-run", false, "only look")
	sub.Flags().Int("count", 3, "how many")
	sub.Flags().String("secret", "", "not shown")
	_ = sub.Flags().MarkHidden("secret")
	hidden := &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}}
	root.AddCommand(sub, hidden)
	return Book{Root: root, EnvPrefix: "TOOL_", Without: "Codes:\n  0 good\n\n",
		ExitCodes: []Entry{{"0", "good"}}, Variables: []Entry{{"OTHER", "else"}}, Files: []Entry{{"tool.yaml", "a file"}}}
}

func TestMan(t *testing.T) {
	pages := testBook().Man()
	if len(pages) != 2 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, c := range []struct{ page, want string }{
		{"tool.1", ".SH NAME\ntool \\- Do things\n"},
		{"tool.1", ".SH SYNOPSIS\n.B tool COMMAND [flags]\n"},
		{"tool.1", ".SH DESCRIPTION\ntool does\nthings.\n"},
		{"tool.1", ".SH COMMANDS\n.TP\n.B tool\\-do_it(1)\nDo | one thing\n"},
		{"tool.1", ".B \\-c, \\-\\-config TEXT\njob file (default: tool.yaml) [TOOL_CONFIG]\n"},
		{"tool.1", ".SH EXIT STATUS\n.TP\n.B 0\ngood\n.SH ENVIRONMENT\n.TP\n.B TOOL_FLAG\n"},
		{"tool.1", ".B OTHER\nelse\n.SH FILES\n.TP\n.B tool.yaml\na file\n"},
		{"tool-do_it.1", ".SH DESCRIPTION\n\\&.dot at the start, a \\e and a \\-dash:\n.PP\n.nf\n  \\- fixed\n    lines\n.fi\n.PP\nand more\n"},
		{"tool-do_it.1", ".B \\-\\-count N\nhow many (default: 3) [TOOL_COUNT]\n.TP\n.B \\-\\-dry\\-run\nonly look [TOOL_DRY_RUN]\n"},
		{"tool-do_it.1", ".SH EXAMPLES\n.nf\ntool do_it <x>\n.fi\n"},
	} {
		if page := string(pages[c.page]); !strings.Contains(page, c.want) {
			t.Errorf("%s has no\n%s\nbut is\n%s", c.page, c.want, page)
		}
	}
	if strings.Contains(string(pages["tool-do_it.1"]), "secret") {
		t.Error("a hidden flag is shown")
	}
}

func TestMarkdown(t *testing.T) {
	got := string(testBook().Markdown())
	for _, want := range []string{
		"- [tool do_it](#tool-do_it): Do \\| one thing\n",
		"\n## tool do_it\n\n.dot at the start, a \\ and a -dash:\n\n```text\n  - fixed\n    lines\n```\n\nand more\n\n```text\ntool do_it [FILE] [flags]\n```\n\n```text\ntool do_it <x>\n```\n",
		"| `--count N` | `3` | how many |\n| `--dry-run` |  | only look |\n",
		"\n## Exit codes\n\n| | |\n|---|---|\n| `0` | good |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no\n%s\nin\n%s", want, got)
		}
	}
}
