//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	docLink       = regexp.MustCompile(`\[[^\]]*\]\(<?([^)\s>]*)>?(?:\s+"[^"]*")?\)`)
	docDefinition = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)`)
	docHeading    = regexp.MustCompile(`(?m)^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$`)
	anySpan       = regexp.MustCompile("`+[^`]*`+")
	notInAnchors  = regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{Pc}\- ]`)
)

// anchors are the names that GitHub gives to the headings of a text: in lower
// case, without punctuation, with hyphens for spaces; the second of a name gets
// -1, the third -2.
func anchors(prose string) map[string]bool {
	found, count := map[string]bool{}, map[string]int{}
	for _, m := range docHeading.FindAllStringSubmatch(prose, -1) {
		text := docLink.ReplaceAllStringFunc(m[1], func(link string) string {
			return link[1:strings.Index(link, "](")]
		})
		name := strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		n := count[name]
		count[name]++
		if n > 0 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		found[name] = true
	}
	return found
}

// brokenLinks gives the links of a Markdown file that lead nowhere in a
// repository: to no file or folder, out of it, or to no heading. Links to other
// places are not followed.
func brokenLinks(repository fs.FS, name string) ([]string, error) {
	prose, err := proseOf(repository, name)
	if err != nil {
		return nil, err
	}
	text := anySpan.ReplaceAllString(prose, "code")
	var broken []string
	for _, m := range append(docLink.FindAllStringSubmatch(text, -1), docDefinition.FindAllStringSubmatch(text, -1)...) {
		link, err := url.Parse(m[1])
		if err != nil {
			broken = append(broken, fmt.Sprintf("%s: %v", m[1], err))
			continue
		}
		if link.Scheme != "" || link.Host != "" {
			continue
		}
		target := name
		if link.Path != "" {
			target = path.Join(path.Dir(name), link.Path)
		}
		if strings.HasPrefix(link.Path, "/") || !fs.ValidPath(target) {
			broken = append(broken, m[1]+": leads out of the repository")
			continue
		}
		if _, err := fs.Stat(repository, target); err != nil {
			broken = append(broken, m[1]+": there is no such file")
			continue
		}
		if link.Fragment == "" {
			if m[1] == "" || m[1] == "#" {
				broken = append(broken, "a link without a target")
			}
			continue
		}
		prose, err := "", errors.New("no page")
		if path.Ext(target) == ".md" {
			prose, err = proseOf(repository, target)
		}
		if err != nil || !anchors(prose)[link.Fragment] {
			broken = append(broken, m[1]+": there is no such heading")
		}
	}
	return broken, nil
}

func proseOf(repository fs.FS, name string) (string, error) {
	data, err := fs.ReadFile(repository, name)
	if err != nil {
		return "", err
	}
	_, prose, err := docBlocks(name, string(data))
	return prose, err
}

// Every link between the documents, and into the repository, leads somewhere.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	repository, n := os.DirFS(moduleRoot), 0
	for _, name := range documents(t) {
		broken, err := brokenLinks(repository, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range broken {
			t.Errorf("%s: %s", name, b)
		}
		n++
	}
	if n < 30 {
		t.Errorf("only %d documents were found", n)
	}
}

// Files that are no documents send readers to some, from the root of the repository.
var pageMention = regexp.MustCompile(`\b((?:deploy|connectors|jobs|schemas|cmd)/[\w./-]*\.md|README\.md)(?:#([\w-]+))?`)

func TestTextsNamePagesThatAreThere(t *testing.T) {
	repository, n := os.DirFS(moduleRoot), 0
	if err := fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if notOurs(d.Name()) {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) == ".md" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		switch path.Ext(name) {
		case ".go", ".yaml", ".yml", ".json", ".py", ".sh", ".tf", ".tpl", ".txt", ".service", ".timer", "":
		default:
			return nil
		}
		data, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		for _, m := range pageMention.FindAllStringSubmatch(string(data), -1) {
			n++
			prose, err := proseOf(repository, m[1])
			if err != nil {
				t.Errorf("%s names %s, which is not there", name, m[0])
			} else if m[2] != "" && !anchors(prose)[m[2]] {
				t.Errorf("%s names %s: there is no such heading", name, m[0])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < 20 {
		t.Errorf("only %d names of pages were found", n)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	page := "# The `run` command, again\n\n## A [linked](other.md) one\n## Twice\n## Twice\n\n```sh\n# no heading\n```\n"
	for link, want := range map[string]string{
		"[a](sub/other.md)":                  "",
		"[a](sub)":                           "",
		"[a](sub/../sub/other.md#first)":     "",
		"[a](#the-run-command-again)":        "",
		"[a](#a-linked-one)":                 "",
		"[a](#twice-1)":                      "",
		"[`code`](sub/other.md)":             "",
		"[a](https://example.com/x#y)":       "",
		"`[a](gone.md)`":                     "",
		"[a]: sub/other.md":                  "",
		"[a](gone.md)":                       "no such file",
		"[a](Sub/other.md)":                  "no such file",
		"[a](gone.md \"title\")":             "no such file",
		"![a](gone.png)":                     "no such file",
		"[a]: gone.md":                       "no such file",
		"[a](#twice-2)":                      "no such heading",
		"[a](#no-heading)":                   "no such heading",
		"[a](sub/other.md#twice)":            "no such heading",
		"[a](sub/data.txt#L1)":               "no such heading",
		"[a](../other.md)":                   "out of the repository",
		"[a](/sub/other.md)":                 "out of the repository",
		"[a]()":                              "without a target",
		"[a](sub/other.md) and [b](gone.md)": "no such file",
	} {
		repository := fstest.MapFS{
			"page.md":      {Data: []byte(page + "\n" + link + "\n")},
			"sub/other.md": {Data: []byte("# First\n")},
			"sub/data.txt": {Data: []byte("# twice\n")},
			"other.md":     {Data: []byte("")},
		}
		got, err := brokenLinks(repository, "page.md")
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(got, "; "); (want == "") != (text == "") || !strings.Contains(text, want) || len(got) > 1 {
			t.Errorf("%s: got %q, want %q", link, text, want)
		}
	}
}

// documents are the Markdown files of the repository, from its root.
func documents(t *testing.T) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(moduleRoot, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && notOurs(d.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(file, ".md"):
			name, err := filepath.Rel(moduleRoot, file)
			names = append(names, filepath.ToSlash(name))
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// notOurs are folders whose texts are not for readers, or not in the repository:
// see .gitignore.
func notOurs(folder string) bool {
	return folder == ".git" || folder == "testdata" || folder == "bin" || folder == "dist"
}
