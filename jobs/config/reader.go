package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// reader walks the syntax tree of one file and collects problems.
type reader struct {
	file     string
	baseDir  string
	problems []Problem
}

// value is what stands behind a key, or an absent value: one without a node.
// Methods of an absent value return zero values and report nothing.
type value struct {
	r            *reader
	key          string
	node         ast.Node
	line, column int
}

// section is a mapping. Asking it for a key makes the key known; done reports
// the keys nobody asked for.
type section struct {
	at      value
	entries map[string]value
	order   []string
	asked   []string
	private bool // keys may be misplaced secrets: do not repeat them
}

// document parses the one YAML document in data. A syntax error is reported
// without the text around it, which could be a secret.
func (r *reader) document(data []byte) (doc value, ok bool) {
	doc = value{r: r, line: 1, column: 1}
	file, err := parseYAML(bytes.TrimPrefix(data, []byte("\ufeff")))
	if err != nil {
		msg := "not readable as YAML"
		if syntax := yaml.Error(nil); errors.As(err, &syntax) {
			msg = syntax.GetMessage()
			if token := syntax.GetToken(); token != nil && token.Position != nil {
				doc.line, doc.column = token.Position.Line, token.Position.Column
			}
		}
		doc.fail("this is not YAML: "+msg, "")
		return doc, false
	}
	for _, d := range file.Docs {
		switch {
		case d.Body == nil || isNull(d.Body):
		case doc.node == nil:
			doc.node = d.Body
		default:
			at(doc, d.Body).fail("a second YAML document starts here", "keep one job in one file")
			return doc, false
		}
	}
	if doc.node == nil {
		doc.fail("the file is empty", "'optsweep init' writes an example")
		return doc, false
	}
	return doc, true
}

// parseYAML turns a panic of the library into an error.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the parser failed")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

// at is v with another node and that node's place. A mapping begins at its
// first key.
func at(v value, node ast.Node) value {
	v.node = node
	token := node.GetToken()
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		token = mapping.Values[0].Key.GetToken()
	}
	if token != nil && token.Position != nil {
		v.line, v.column = token.Position.Line, token.Position.Column
	}
	return v
}

// fail reports a problem at v.
func (v value) fail(msg, hint string) {
	v.r.problems = append(v.r.problems, Problem{
		File: v.r.file, Line: v.line, Column: v.column, Key: v.key, Msg: msg, Hint: hint,
	})
}

func (v value) present() bool { return v.node != nil }

// plain tells whether the value is neither an anchor, an alias nor a tag, and
// reports it if not.
func (v value) plain() bool {
	switch v.node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode, *ast.DirectiveNode:
		v.fail("anchors, aliases, tags and directives are not supported", "write the value out")
		return false
	}
	return true
}

// section reads a mapping. What is absent, null or no mapping gives an empty
// section without required keys.
func (v value) section() *section { return v.mapping(false) }

// mapping is section; private keeps what stands in the place of a key out of
// messages.
func (v value) mapping(private bool) *section {
	s := &section{at: v, entries: make(map[string]value), private: private}
	if !v.present() {
		return s
	}
	mapping, ok := v.node.(ast.MapNode)
	s.at.node = nil
	switch {
	case isNull(v.node) || !v.plain():
	case !ok:
		v.fail("must be a mapping", "put its keys on lines of their own, further to the right")
	default:
		s.at.node = v.node
		for pairs := mapping.MapRange(); pairs.Next(); {
			s.add(pairs.KeyValue())
		}
	}
	return s
}

func (s *section) add(pair *ast.MappingValueNode) {
	keyAt := at(value{r: s.at.r, key: s.at.key}, pair.Key)
	switch pair.Key.(type) {
	case *ast.MergeKeyNode, *ast.MappingKeyNode:
		keyAt.fail("merge keys and complex keys are not supported", "write plain keys")
		return
	}
	name := pair.Key.GetToken().Value
	if first, twice := s.entries[name]; twice {
		keyAt.key = s.name(name)
		keyAt.fail(fmt.Sprintf("is given twice, first on line %d", first.line), "remove one of the two")
		return
	}
	keyAt.key = s.name(name)
	keyAt.node = pair.Value
	if keyAt.node == nil {
		keyAt.node = &ast.NullNode{}
	}
	s.entries[name] = keyAt
	s.order = append(s.order, name)
}

// keyShape is what a misspelt key looks like. Other text in the place of a key
// is not repeated: after a slip of the pen it could be a secret.
var keyShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,23}$`)

// name is the full name of a key of the section.
func (s *section) name(key string) string {
	if s.private || !keyShape.MatchString(key) {
		return s.at.key
	}
	if s.at.key == "" {
		return key
	}
	return s.at.key + "." + key
}

// optional returns the value of a key. Its place is that of the value.
func (s *section) optional(key string) value {
	v := s.nullable(key)
	if isNull(v.node) {
		v.fail("has no value", "give it one or remove the line")
		v.node = nil
	}
	return v
}

// nullable is optional for a key that may be there without a value.
func (s *section) nullable(key string) value {
	s.asked = append(s.asked, key)
	v, given := s.entries[key]
	switch {
	case !given:
		return value{r: s.at.r, key: s.name(key), line: s.at.line, column: s.at.column}
	case isNull(v.node):
		return v // at the key, since a missing value has no place
	default:
		return at(v, v.node)
	}
}

func isNull(node ast.Node) bool {
	_, null := node.(*ast.NullNode)
	return null
}

// required is optional, and reports a key that is not in the mapping.
func (s *section) required(key string) value {
	v := s.optional(key)
	if _, given := s.entries[key]; !given && s.at.present() {
		v.fail("is missing", "")
	}
	return v
}

// require reports each of the keys that is not in the mapping.
func (s *section) require(keys ...string) {
	for _, key := range keys {
		s.required(key)
	}
}

// refuse reports each of the keys that is there.
func (s *section) refuse(msg, hint string, keys ...string) {
	for _, key := range keys {
		if v, given := s.entries[key]; given {
			v.fail(msg, hint)
		}
	}
}

// done reports keys that nobody asked for.
func (s *section) done() {
	for _, key := range s.order {
		if slices.Contains(s.asked, key) {
			continue
		}
		v := s.entries[key]
		hint := "known here: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(s.asked))), ", ")
		if near := nearest(key, s.asked); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		v.fail("unknown key", hint)
	}
}
