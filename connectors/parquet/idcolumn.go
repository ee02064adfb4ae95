package parquet

import (
	"context"
	"encoding/base64"
	"io"
	"strings"

	"optsweep/connectors/parquet/chunk"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// Encoding says how ids stand in their column.
type Encoding string

// Encodings of ids. If none is chosen, a FIXED_LEN_BYTE_ARRAY of 32 or 33 bytes
// holds bytes, and everything else base64.
const (
	Base64 Encoding = "base64" // text of 44 characters
	Binary Encoding = "binary" // 32 bytes, or 33 with the version in front
)

// maxFixed is the longest FIXED_LEN_BYTE_ARRAY that may be padded text.
const maxFixed = 1024

// idColumn is the column of ids of one file.
type idColumn struct {
	leaf int  // index in Meta.Columns
	raw  bool // ids are bytes, not text
}

// findID finds the id column: the column at the top level whose name is path,
// or what path leads to. As in tables of BigQuery, a path is names with dots
// between them, of which those of lists and maps end in [] for their elements:
// user.euid, ids[], ids[].value, tags[].key.
func findID(m *footer.Meta, path string, encoding Encoding) (idColumn, error) {
	node, err := follow(m, []step{{name: path}})
	if steps := parsePath(path); len(steps) > 1 || steps[0].lists > 0 {
		inside, insideErr := follow(m, steps)
		if err == nil && insideErr == nil {
			return idColumn{}, schemas.Errorf(schemas.Failed, "there are both a column %q and a field of a column of that path", path).
				WithHint("rename one of them")
		}
		if err != nil {
			node, err = inside, insideErr
		}
	}
	if err != nil {
		return idColumn{}, err
	}
	id := idColumn{leaf: node.Column}
	c := m.Columns[id.leaf]
	tooLong := func(hint string) error {
		return schemas.Errorf(schemas.Failed, "column %q has values of %d bytes, which ids in encoding %s never have", path, c.Length, encoding).WithHint("%s", hint)
	}
	switch raw := c.Length == schemas.IDSize-1 || c.Length == schemas.IDSize; {
	case c.Type == footer.ByteArray:
		id.raw = encoding == Binary
	case c.Type != footer.FixedBytes:
		return idColumn{}, schemas.Errorf(schemas.Failed, "column %q has physical type %s, not BYTE_ARRAY or FIXED_LEN_BYTE_ARRAY", path, typeName(c.Type)).
			WithHint("name a column of strings or bytes that holds ids")
	case raw && encoding == Base64:
		return idColumn{}, tooLong("remove id_encoding, or choose id_encoding: binary")
	case raw:
		id.raw = true
	case encoding == Binary:
		return idColumn{}, tooLong("name a column of 32 or 33 bytes, or remove id_encoding")
	case c.Length < schemas.TextSize || c.Length > maxFixed:
		encoding = Base64
		return idColumn{}, tooLong("name a column of 32 or 33 bytes, or of text in base64")
	}
	return id, nil
}

// step is one name of a path.
type step struct {
	name  string
	lists int // how many [] follow it
}

func parsePath(path string) (steps []step) {
	for name := range strings.SplitSeq(path, ".") {
		s := step{name: name}
		for strings.HasSuffix(s.name, "[]") {
			s.name, s.lists = strings.TrimSuffix(s.name, "[]"), s.lists+1
		}
		steps = append(steps, s)
	}
	return steps
}

// follow goes down the schema to a leaf.
func follow(m *footer.Meta, steps []step) (*footer.Node, error) {
	node, path := m.Root, ""
	for _, s := range steps {
		child, err := pick(m, node, path, s.name)
		if err != nil {
			return nil, err
		}
		path = join(path, s.name)
		node = child
		for n := range s.lists {
			inner := element(node, n > 0)
			if inner == nil {
				return nil, schemas.Errorf(schemas.Failed, "column %q is no list", path).WithHint("name it without []")
			}
			node = inner
			path += "[]"
		}
		if s.lists == 0 && node.Repetition == footer.Repeated {
			return nil, schemas.Errorf(schemas.Failed, "column %q is repeated", path).WithHint("name its elements: %s[]", path)
		}
	}
	if node.Leaf() {
		return node, nil
	}
	inside := below(m, node, path, true)
	what := "is a struct"
	if node.Kind != footer.Struct {
		what = "is a list or a map"
	}
	e := schemas.Errorf(schemas.Failed, "column %q %s", path, what)
	if len(inside) == 0 {
		return nil, e.WithHint("name a column of strings or bytes: it holds none")
	}
	return nil, e.WithHint("name what holds the ids: %s", strings.Join(inside[:min(len(inside), 5)], ", "))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// pick finds the child of this name. Others that many readers take for the same
// are refused.
func pick(m *footer.Meta, n *footer.Node, path, name string) (found *footer.Node, err error) {
	for _, c := range n.Children {
		switch {
		case c.Name == name && found != nil:
			return nil, schemas.Errorf(schemas.Failed, "there are two columns %q", join(path, name)).WithHint("rename one of them")
		case c.Name == name:
			found = c
		}
	}
	if found == nil {
		return nil, schemas.Errorf(schemas.Failed, "has no column %q", join(path, name)).
			WithHint("columns with a similar name: %s", similar(below(m, m.Root, "", false), join(path, name)))
	}
	for _, c := range n.Children {
		if c != found && strings.EqualFold(c.Name, name) {
			return nil, schemas.Errorf(schemas.Failed, "column %q differs from %q by case only", join(path, c.Name), join(path, name)).
				WithHint("rename one of them: many readers cannot tell them apart")
		}
	}
	return found, nil
}

// element is what a list or map has many of, nil if n is none (parquet-format
// LogicalTypes.md, with its rules for files of old writers): of a map the pair of
// key and value. inner tells that n is an element itself, so that its being
// repeated is spoken for.
func element(n *footer.Node, inner bool) *footer.Node {
	if n.Repetition == footer.Repeated && !inner {
		return n
	}
	if n.Kind == footer.Struct || len(n.Children) != 1 || n.Children[0].Repetition != footer.Repeated {
		return nil
	}
	many := n.Children[0]
	if n.Kind == footer.Map || len(many.Children) != 1 || many.Name == "array" || many.Name == n.Name+"_tuple" ||
		many.Children[0].Repetition == footer.Repeated {
		return many
	}
	return many.Children[0]
}

// below lists the paths of the leaves in a node: all, or those that can hold ids.
func below(m *footer.Meta, n *footer.Node, path string, ids bool) (all []string) {
	if n.Leaf() {
		if t := m.Columns[n.Column].Type; ids && t != footer.ByteArray && t != footer.FixedBytes {
			return nil
		}
		return []string{path}
	}
	if inner := element(n, true); inner != nil {
		return below(m, inner, path+"[]", ids)
	}
	for _, c := range n.Children {
		name := join(path, c.Name)
		if c.Repetition == footer.Repeated {
			name += "[]"
		}
		all = append(all, below(m, c, name, ids)...)
	}
	return all
}

// idReader reads the cells of an id column as text, whatever they are in the
// file: all that is said of ids is said of their text.
type idReader struct {
	*chunk.Reader
	raw   bool
	texts [][]byte
	arena []byte
}

func newIDReader(r io.ReaderAt, m *footer.Meta, id idColumn) *idReader {
	return &idReader{Reader: chunk.NewReader(r, m.Columns[id.leaf]), raw: id.raw}
}

// each is chunk.Reader.Elements, with raw ids in base64. Bytes that are no id
// give a text that is none either: only 32 and 33 bytes have 44 characters of
// canonical base64.
func (r *idReader) each(ctx context.Context, c footer.Chunk, yield func(first int64, rows []int64, cells [][]byte) error) error {
	if !r.raw {
		return r.Elements(ctx, c, yield)
	}
	return r.Elements(ctx, c, func(first int64, rows []int64, cells [][]byte) error {
		size := 0
		for _, cell := range cells {
			size += base64.StdEncoding.EncodedLen(len(cell))
		}
		if r.arena == nil || cap(r.arena) < size { // nil would make a NULL of an empty cell
			r.arena = make([]byte, size, size+1)
		}
		rest := r.arena[:cap(r.arena)]
		r.texts = r.texts[:0]
		for _, cell := range cells {
			if cell == nil {
				r.texts = append(r.texts, nil)
				continue
			}
			n := base64.StdEncoding.EncodedLen(len(cell))
			base64.StdEncoding.Encode(rest[:n], cell)
			r.texts, rest = append(r.texts, rest[:n:n]), rest[n:]
		}
		return yield(first, rows, r.texts)
	})
}
