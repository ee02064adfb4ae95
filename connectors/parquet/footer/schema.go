package footer

import (
	"bytes"
	"errors"

	format "github.com/xitongsys/parquet-go/parquet"
)

// Column is a leaf of the schema.
type Column struct {
	Name       string   // of the column at the top level
	Path       []string // names from there down to the leaf
	Nested     bool     // the leaf is somewhere below the top level
	Type       int64    // physical type
	Length     int64    // bytes of a value of type FixedBytes
	Repetition int64    // of the leaf itself
	MaxDef     int      // definition level of a value
	MaxRep     int      // highest repetition level; above 0: a row has any number of values
	timestamp  bool     // TIMESTAMP(MILLIS, adjusted to UTC)
	integer    bool     // neither a logical nor a converted type, or that of a signed integer of 64 bits
	element    int      // index in the list of schema elements
}

// FlagType is a type that the added column can have: nullable, at the top
// level, and Unix time in ms.
type FlagType string

// The types of the added column.
const (
	Timestamp FlagType = "timestamp" // INT64 with the logical type TIMESTAMP(ms, UTC)
	Integer   FlagType = "int64"     // INT64 without a logical type, or with that of a plain integer
)

// Flags tells which of these types the column has exactly; empty: none.
func (c Column) Flags() FlagType {
	switch {
	case c.Nested || c.Type != Int64 || c.Repetition != Optional:
		return ""
	case c.timestamp:
		return Timestamp
	case c.integer:
		return Integer
	}
	return ""
}

// Kind says how a group of the schema is annotated.
type Kind uint8

// Kinds of groups that matter to a path.
const (
	Struct Kind = iota // no annotation that is known here
	List
	Map
)

// Node is an element of the schema.
type Node struct {
	Name       string
	Repetition int64
	Kind       Kind
	Children   []*Node // nil for a leaf
	Column     int     // index of a leaf in Columns; -1 for a group
}

// Leaf tells whether the node has values.
func (n *Node) Leaf() bool { return n.Column >= 0 }

// openGroup is a group of the schema whose children are being read.
type openGroup struct {
	node     *Node
	left     int64 // children to come
	def, rep int   // levels down to here
	path     []string
}

// parseSchema turns the list of schema elements, which is in depth-first order,
// into a tree.
func (m *Meta) parseSchema() error {
	l, err := structs(m.top, fileSchema)
	if err != nil {
		return err
	}
	var open []openGroup
	err = l.each(func(i int, element []byte) error {
		fields, _, err := parseStruct(element)
		if err != nil {
			return err
		}
		raw, err1 := text(fields, schemaName)
		children, err2 := integer(fields, schemaChildren, 0)
		repetition, err3 := integer(fields, schemaRepetition, Required)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if children < 0 || children > int64(l.count-i) {
			return errors.New("has a schema element with an impossible number of children")
		}
		node := &Node{Name: string(raw), Repetition: repetition, Column: -1}
		if i == 0 {
			m.Root = node
			open = append(open, openGroup{node: node, left: children})
			return nil
		}
		for len(open) > 0 && open[len(open)-1].left == 0 {
			open = open[:len(open)-1]
		}
		if len(open) == 0 || len(open) > maxSchemaDepth {
			return errors.New("has a schema that is no tree")
		}
		parent := &open[len(open)-1]
		parent.left--
		parent.node.Children = append(parent.node.Children, node)
		at := openGroup{node: node, left: children, def: parent.def, rep: parent.rep, path: append(parent.path[:len(parent.path):len(parent.path)], node.Name)}
		if repetition != Required {
			at.def++
		}
		if repetition == Repeated {
			at.rep++
		}
		if len(open) == 1 {
			m.Top = append(m.Top, node.Name)
		}
		if _, typed := find(fields, schemaType); children > 0 || !typed {
			node.Kind, err = kindOf(fields)
			open = append(open, at)
			return err
		}
		c, err := newColumn(fields)
		c.Name, c.Path, c.Nested, c.element = at.path[0], at.path, len(at.path) > 1, i
		c.MaxDef, c.MaxRep = at.def, at.rep
		node.Column = len(m.Columns)
		m.Columns = append(m.Columns, c)
		return err
	})
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return errors.New("has no schema")
	}
	for _, g := range open {
		if g.left != 0 {
			return errors.New("has a schema that is no tree")
		}
	}
	return nil
}

// Fields of the union LogicalType in parquet.thrift.
const (
	logicalMap  = 2
	logicalList = 3
)

func kindOf(fields []field) (Kind, error) {
	converted, err := integer(fields, schemaConverted, -1)
	if err != nil {
		return Struct, err
	}
	if _, ok := find(fields, schemaLogical); ok {
		logical, err := group(fields, schemaLogical)
		if err != nil {
			return Struct, err
		}
		if _, is := find(logical, logicalList); is {
			return List, nil
		}
		if _, is := find(logical, logicalMap); is {
			return Map, nil
		}
	}
	switch format.ConvertedType(converted) {
	case format.ConvertedType_LIST:
		return List, nil
	case format.ConvertedType_MAP, format.ConvertedType_MAP_KEY_VALUE:
		return Map, nil
	}
	return Struct, nil
}

func newColumn(fields []field) (c Column, err error) {
	converted := int64(-1)
	for _, v := range []struct {
		into    *int64
		id      int16
		missing int64
	}{{&c.Type, schemaType, -1}, {&c.Length, schemaLength, 0}, {&c.Repetition, schemaRepetition, Required}, {&converted, schemaConverted, -1}} {
		if *v.into, err = integer(fields, v.id, v.missing); err != nil {
			return c, err
		}
	}
	if c.Type == FixedBytes && (c.Length < 0 || c.Length > 1<<31-1) {
		return c, errors.New("has values of an impossible length")
	}
	logical, ok := find(fields, schemaLogical)
	if ok {
		c.timestamp = bytes.Equal(logical.value, newFlagsLogicalType())
		c.integer = bytes.Equal(logical.value, []byte{0xAC, 0x13, 64, 0x11, 0, 0}) // INTEGER(64, signed)
	} else {
		c.timestamp = converted == convertedTimestampMillis
		c.integer = converted < 0 || format.ConvertedType(converted) == format.ConvertedType_INT_64
	}
	return c, nil
}
