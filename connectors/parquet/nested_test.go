package parquet_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"pgregory.net/rapid"

	"optsweep/connectors/parquet"
)

// nestStep is one step from the root of a schema to its ids.
type nestStep struct {
	kind     string // struct, list, two-level, repeated or map
	optional bool
	element  bool // of a list: its elements are nullable
}

// level is a node on the way to the ids that can be NULL or repeated.
type level struct{ repeated bool }

// nest is a schema: its nodes from the leaf up, the path to the ids, and the
// levels on the way.
type nest struct {
	steps  []nestStep
	leaf   func(name string, r pq.Repetition) schema.Node
	levels []level
	path   string

	keyDef, keyRep int // of the key column of a map; -1: there is none
}

func repetition(optional bool) pq.Repetition {
	if optional {
		return pq.Repetitions.Optional
	}
	return pq.Repetitions.Required
}

func group(name string, r pq.Repetition, l schema.LogicalType, fields ...schema.Node) schema.Node {
	if l == nil {
		return schema.MustGroup(schema.NewGroupNode(name, r, fields, -1))
	}
	return schema.MustGroup(schema.NewGroupNodeLogical(name, r, fields, l, -1))
}

// build makes the node of step i and what is below it, under the given name, and
// notes the path and the levels of a value on the way.
func (n *nest) build(i int, name string, r pq.Repetition, named bool) schema.Node {
	if named {
		n.path = strings.TrimPrefix(n.path+"."+name, ".")
	}
	if r != pq.Repetitions.Required {
		n.levels = append(n.levels, level{r == pq.Repetitions.Repeated})
	}
	if i == len(n.steps) {
		return n.leaf(name, r)
	}
	s := n.steps[i]
	next := fmt.Sprint("f", i+1)
	switch s.kind {
	case "struct":
		return group(name, r, nil, n.build(i+1, next, repetition(s.optional), true))
	case "repeated": // without any annotation
		return group(name, r, nil, n.repeated(i+1, next))
	case "list":
		list := group("l", repetition(s.optional), schema.NewListLogicalType(), n.list(i+1, s))
		return group(name, r, nil, list)
	case "two-level":
		n.path += ".l[]"
		n.optional(s.optional)
		n.levels = append(n.levels, level{true})
		inside := n.build(i+1, "array", pq.Repetitions.Required, false)
		// The repeated node is the element itself.
		if leaf, ok := inside.(*schema.PrimitiveNode); ok {
			inside = n.leaf(leaf.Name(), pq.Repetitions.Repeated)
		} else {
			g := inside.(*schema.GroupNode)
			var fields []schema.Node
			for j := range g.NumFields() {
				fields = append(fields, g.Field(j))
			}
			inside = group("array", pq.Repetitions.Repeated, nil, fields...)
		}
		return group(name, r, nil, group("l", repetition(s.optional), schema.NewListLogicalType(), inside))
	default: // map
		n.path += ".m[]"
		n.optional(s.optional)
		n.levels = append(n.levels, level{true})
		n.keyDef, n.keyRep = len(n.levels), 0
		for _, l := range n.levels {
			if l.repeated {
				n.keyRep++
			}
		}
		key := schema.MustPrimitive(schema.NewPrimitiveNode("key", pq.Repetitions.Required, pq.Types.ByteArray, -1, -1))
		value := n.build(i+1, "value", repetition(s.element), true)
		pairs := group("key_value", pq.Repetitions.Repeated, nil, key, value)
		return group(name, r, nil, group("m", repetition(s.optional), schema.MapLogicalType{}, pairs))
	}
}

func (n *nest) optional(is bool) {
	if is {
		n.levels = append(n.levels, level{})
	}
}

func (n *nest) repeated(i int, name string) schema.Node {
	n.path += "." + name + "[]"
	return n.build(i, name, pq.Repetitions.Repeated, false)
}

// list makes the repeated group of a list in three levels.
func (n *nest) list(i int, s nestStep) schema.Node {
	n.path += ".l[]"
	n.optional(s.optional)
	n.levels = append(n.levels, level{true})
	return group("list", pq.Repetitions.Repeated, nil, n.build(i, "element", repetition(s.element), false))
}

// entry is a value, or what stands in its place, with its levels.
type entry struct {
	def, rep int16
	cell     []byte // nil: NULL
}

// entries draws the entries of one row.
func (n *nest) entries(r *rapid.T, l int, def, rep, depth int16, value func() []byte) (all []entry) {
	if l == len(n.levels) {
		return []entry{{def, rep, value()}}
	}
	if !n.levels[l].repeated {
		if rapid.IntRange(0, 4).Draw(r, "null") == 0 {
			return []entry{{def, rep, nil}}
		}
		return n.entries(r, l+1, def+1, rep, depth, value)
	}
	count := rapid.SampledFrom([]int{0, 1, 1, 2, 3, 40}).Draw(r, "elements")
	if l > 3 {
		count = min(count, 2)
	}
	if count == 0 {
		return []entry{{def, rep, nil}}
	}
	for i := range count {
		at := rep
		if i > 0 {
			at = depth + 1
		}
		all = append(all, n.entries(r, l+1, def+1, at, depth+1, value)...)
	}
	return all
}

// TestNestedIDs treats files of any nesting, with pages that may end anywhere in
// a row, of ids in text and in bytes.
func TestNestedIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	rapid.Check(t, func(r *rapid.T) {
		n := &nest{keyDef: -1}
		for range rapid.IntRange(0, 3).Draw(r, "steps") {
			kind := rapid.SampledFrom([]string{"struct", "list", "two-level", "repeated", "map"}).Draw(r, "kind")
			if kind == "map" && n.keyDef >= 0 {
				kind = "list" // one is enough
			}
			if kind == "map" {
				n.keyDef = 0
			}
			n.steps = append(n.steps, nestStep{kind, rapid.Bool().Draw(r, "optional"), rapid.Bool().Draw(r, "element")})
		}
		n.keyDef = -1
		width := rapid.SampledFrom([]int{0, 0, 32, 33, -32}).Draw(r, "width") // 0: text; negative: bytes of any length
		n.leaf = func(name string, rep pq.Repetition) schema.Node {
			if width > 0 {
				return schema.MustPrimitive(schema.NewPrimitiveNode(name, rep, pq.Types.FixedLenByteArray, -1, int32(width)))
			}
			return schema.MustPrimitive(schema.NewPrimitiveNode(name, rep, pq.Types.ByteArray, -1, -1))
		}
		top := n.build(0, "id", repetition(rapid.Bool().Draw(r, "top")), true)
		rowID := schema.MustPrimitive(schema.NewPrimitiveNode("row_id", pq.Repetitions.Required, pq.Types.Int64, -1, -1))
		root := schema.MustGroup(schema.NewGroupNode("schema", pq.Repetitions.Required, schema.FieldList{rowID, top}, -1))

		props := []pq.WriterProperty{
			pq.WithCompression(rapid.SampledFrom([]compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Zstd}).Draw(r, "codec")),
			pq.WithDataPageSize(rapid.SampledFrom([]int64{64, 1 << 20}).Draw(r, "page")),
			pq.WithDictionaryDefault(rapid.Bool().Draw(r, "dictionary")),
		}
		// With version 2, arrow's writer loops for ever over a row longer than a batch.
		if rapid.Bool().Draw(r, "v2") {
			props = append(props, pq.WithDataPageVersion(pq.DataPageV2), pq.WithBatchSize(1<<30))
		} else {
			props = append(props, pq.WithBatchSize(rapid.SampledFrom([]int64{3, 16, 1024}).Draw(r, "batch")))
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := file.NewParquetWriter(f, root, file.WithWriterProps(pq.NewWriterProperties(props...)))
		var rows [][][]byte
		for range rapid.IntRange(0, 2).Draw(r, "groups") {
			var all []entry
			var numbers []int64
			for range rapid.IntRange(0, 30).Draw(r, "rows") {
				row := n.entries(r, 0, 0, 0, 0, func() []byte { return drawID(r, width) })
				all = append(all, row...)
				numbers = append(numbers, int64(len(rows)))
				var cells [][]byte
				for _, e := range row {
					cells = append(cells, asText(e.cell, width))
				}
				rows = append(rows, cells)
			}
			if len(numbers) > 0 {
				writeGroup(t, w, n, numbers, all)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		o := parquet.Options{Table: "t", Path: path, IDColumn: n.path}
		if width < 0 {
			o.IDEncoding = parquet.Binary
		}
		checkShape(t, o, rows)
	})
}

func drawID(r *rapid.T, width int) []byte {
	sum := sha256.Sum256([]byte{byte(rapid.IntRange(0, 60).Draw(r, "id"))})
	switch width {
	case 32:
		return sum[:]
	case 33:
		return append([]byte{sum[0] & 0x34}, sum[:]...)
	case -32: // some of them are no ids
		return sum[:rapid.SampledFrom([]int{32, 32, 32, 0, 31, 7}).Draw(r, "size")]
	}
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

func asText(cell []byte, width int) []byte {
	if cell == nil || width == 0 {
		return cell
	}
	return base64.StdEncoding.AppendEncode([]byte{}, cell)
}

func writeGroup(t *testing.T, w *file.Writer, n *nest, numbers []int64, all []entry) {
	t.Helper()
	g := w.AppendRowGroup()
	column := func() file.ColumnChunkWriter {
		c, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	done := func(c file.ColumnChunkWriter, err error) {
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := column()
	_, err := c.(*file.Int64ColumnChunkWriter).WriteBatch(numbers, nil, nil)
	done(c, err)
	if n.keyDef >= 0 {
		var keys []pq.ByteArray
		var def, rep []int16
		for _, e := range all {
			if int(e.rep) > n.keyRep {
				continue
			}
			def, rep = append(def, min(e.def, int16(n.keyDef))), append(rep, e.rep)
			if int(e.def) >= n.keyDef {
				keys = append(keys, pq.ByteArray("k"))
			}
		}
		c := column()
		_, err := c.(*file.ByteArrayColumnChunkWriter).WriteBatch(keys, def, rep)
		done(c, err)
	}
	var def, rep []int16
	var texts []pq.ByteArray
	var blocks []pq.FixedLenByteArray
	most := int16(len(n.levels))
	for _, e := range all {
		def, rep = append(def, e.def), append(rep, e.rep)
		if e.def == most {
			texts, blocks = append(texts, e.cell), append(blocks, e.cell)
		}
	}
	c = column()
	if most == 0 {
		def = nil
	}
	if c.Descr().MaxRepetitionLevel() == 0 {
		rep = nil
	}
	if fixed, ok := c.(*file.FixedLenByteArrayColumnChunkWriter); ok {
		_, err = fixed.WriteBatch(blocks, def, rep)
	} else {
		_, err = c.(*file.ByteArrayColumnChunkWriter).WriteBatch(texts, def, rep)
	}
	done(c, err)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}
