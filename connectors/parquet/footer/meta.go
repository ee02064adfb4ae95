package footer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"optsweep/schemas"
)

// Physical types and repetitions of a leaf (parquet.thrift, Type and
// FieldRepetitionType).
const (
	Int64      = 2
	ByteArray  = 6
	FixedBytes = 7 // FIXED_LEN_BYTE_ARRAY

	Required = 0
	Optional = 1
	Repeated = 2
)

const (
	magic     = "PAR1"
	encrypted = "PARE"
	trailer   = 8       // footer length and magic
	maxFooter = 1 << 29 // bytes; a footer that is larger is taken for damage

	maxSchemaDepth = 128
)

// Field numbers of FileMetaData, RowGroup, ColumnChunk and SchemaElement in
// parquet.thrift.
const (
	fileSchema       = 2
	fileRows         = 3
	fileGroups       = 4
	fileKeyValues    = 5
	fileColumnOrders = 7
	fileEncryption   = 8
	fileSigningKey   = 9
	fileExtension    = 32767 // reserved for a footer in another format

	groupColumns    = 1
	groupBytes      = 2
	groupRows       = 3
	groupSorting    = 4
	groupCompressed = 6

	chunkFilePath          = 1
	chunkMeta              = 3
	chunkOffsetIndex       = 4
	chunkOffsetIndexLength = 5
	chunkColumnIndex       = 6
	chunkColumnIndexLength = 7
	chunkCrypto            = 8
	chunkEncryptedMeta     = 9

	schemaType       = 1
	schemaLength     = 2
	schemaRepetition = 3
	schemaName       = 4
	schemaChildren   = 5
	schemaConverted  = 6
	schemaLogical    = 10
)

// Span is a range of bytes in the file; Length 0 means that there is none.
type Span struct{ Offset, Length int64 }

// Chunk is what a reader needs to know of one column in one row group.
type Chunk struct {
	Codec  int64 // CompressionCodec of parquet.thrift
	Rows   int64 // of the row group
	Values int64 // NULLs included; of a repeated column elements, and 1 for a row without any
	Pages  Span  // all pages, the dictionary first
	// Bytes after decompression, page headers included.
	Uncompressed int64

	raw                      []byte // the ColumnChunk as it stands in the footer
	columnIndex, offsetIndex Span
}

// Meta is a parsed footer.
type Meta struct {
	Size    int64    // of the file
	Start   int64    // where the footer begins in it
	Rows    int64    // of the file
	Groups  []int64  // rows of every row group
	Columns []Column // leaves in schema order
	Top     []string // names of the columns at the top level, nested ones too
	Root    *Node    // of the schema

	raw          []byte
	top          []field
	columnIndex  bool // some chunk has one
	offsetIndex  bool
	keyValueList list
}

// corrupt is the error of a footer that cannot be trusted.
func corrupt(format string, args ...any) error {
	return schemas.Errorf(schemas.Failed, "the footer "+format, args...).
		WithHint("the file is damaged or incomplete: restore it or write it anew")
}

func refuse(format string, args ...any) *schemas.Error {
	return schemas.Errorf(schemas.Failed, format, args...)
}

// Read reads and checks the footer of a file of size bytes. It refuses what
// could not be kept whole: encrypted and signed footers, chunks in other files
// and footers that carry themselves in a second format.
func Read(r io.ReaderAt, size int64) (*Meta, error) {
	raw, err := readRaw(r, size)
	if err != nil {
		return nil, err
	}
	return parse(raw, size)
}

func readRaw(r io.ReaderAt, size int64) ([]byte, error) {
	notParquet := refuse("is not a Parquet file").WithHint("narrow the path to Parquet files, or restore the file")
	if size < int64(len(magic))+trailer {
		return nil, notParquet
	}
	var head [4]byte
	var tail [trailer]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if _, err := r.ReadAt(tail[:], size-trailer); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	switch {
	case string(tail[4:]) == encrypted || string(head[:]) == encrypted:
		return nil, refuse("is encrypted").WithHint("name a decrypted copy, or leave the file out of the path")
	case string(head[:]) == magic && string(tail[4:]) != magic:
		return nil, refuse("has no Parquet footer: it is cut off or still being written").
			WithHint("wait for the writer to finish, or restore the file")
	case string(head[:]) != magic || string(tail[4:]) != magic:
		return nil, notParquet
	}
	length := int64(binary.LittleEndian.Uint32(tail[:4]))
	if length > size-trailer-int64(len(magic)) || length > maxFooter {
		return nil, corrupt("claims a length of %d bytes in a file of %d", length, size)
	}
	raw := make([]byte, length)
	if _, err := r.ReadAt(raw, size-trailer-length); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return raw, nil
}

// Digest reads the footer of a file of size bytes and returns 16 hexadecimal
// digits of its SHA-256, without looking into it.
func Digest(r io.ReaderAt, size int64) (string, error) {
	raw, err := readRaw(r, size)
	if err != nil {
		return "", err
	}
	return digest(raw), nil
}

// Digest returns what the function Digest gives for the same file.
func (m *Meta) Digest() string { return digest(m.raw) }

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func parse(raw []byte, size int64) (*Meta, error) {
	m := &Meta{Size: size, Start: size - trailer - int64(len(raw)), raw: raw}
	top, n, err := parseStruct(raw)
	if err != nil {
		return nil, corrupt("%w", err)
	}
	if _, ok := find(top, fileEncryption); ok {
		return nil, refuse("has encrypted columns").WithHint("name a decrypted copy, or leave the file out of the path")
	}
	if _, ok := find(top, fileSigningKey); ok || n != len(raw) {
		return nil, refuse("has a signed footer or bytes behind it").WithHint("write the file anew without encryption or signature, or leave it out of the path")
	}
	if _, ok := find(top, fileExtension); ok {
		return nil, refuse("has a second footer in another format").WithHint("write the file anew without it, or leave it out of the path")
	}
	m.top = top
	for _, step := range []func() error{m.parseSchema, m.parseGroups, m.parseKeyValues, m.parseOrders} {
		if err := step(); err != nil {
			var known *schemas.Error
			if errors.As(err, &known) {
				return nil, err
			}
			return nil, corrupt("%w", err)
		}
	}
	return m, nil
}

func (m *Meta) parseGroups() (err error) {
	if m.Rows, err = integer(m.top, fileRows, -1); err != nil {
		return err
	}
	l, err := structs(m.top, fileGroups)
	if err != nil {
		return err
	}
	left := m.Rows
	err = l.each(func(i int, raw []byte) error {
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		rows, err := integer(fields, groupRows, -1)
		if err != nil {
			return err
		}
		if rows < 0 || rows > left {
			return errors.New("counts its rows wrong")
		}
		left -= rows
		m.Groups = append(m.Groups, rows)
		columns, err := structs(fields, groupColumns)
		if err != nil {
			return err
		}
		if columns.count != len(m.Columns) {
			return fmt.Errorf("has %d columns in row group %d and %d in the schema", columns.count, i, len(m.Columns))
		}
		return columns.each(func(_ int, raw []byte) error { return m.checkChunk(raw) })
	})
	if err == nil && left != 0 {
		err = errors.New("counts its rows wrong")
	}
	return err
}

// checkChunk looks at the parts of every chunk that decide whether a column
// can be added at all.
func (m *Meta) checkChunk(raw []byte) error {
	fields, _, err := parseStruct(raw)
	if err != nil {
		return err
	}
	path, err := text(fields, chunkFilePath)
	if err != nil {
		return err
	}
	if len(path) > 0 {
		return refuse("keeps its data in other files: it is a summary").WithHint("leave summary files out of the path")
	}
	for _, id := range []int16{chunkCrypto, chunkEncryptedMeta} {
		if _, ok := find(fields, id); ok {
			return refuse("has encrypted columns").WithHint("name a decrypted copy, or leave the file out of the path")
		}
	}
	if _, ok := find(fields, chunkMeta); !ok {
		return errors.New("has a column chunk without metadata")
	}
	c := Chunk{raw: raw}
	if err := m.readIndexes(&c, fields); err != nil {
		return err
	}
	m.columnIndex = m.columnIndex || c.columnIndex.Length > 0
	m.offsetIndex = m.offsetIndex || c.offsetIndex.Length > 0
	return nil
}

func (m *Meta) readIndexes(c *Chunk, fields []field) (err error) {
	if c.columnIndex, err = m.span(fields, chunkColumnIndex, chunkColumnIndexLength); err != nil {
		return err
	}
	c.offsetIndex, err = m.span(fields, chunkOffsetIndex, chunkOffsetIndexLength)
	return err
}

// span reads an offset and a length and checks them against the file.
func (m *Meta) span(fields []field, offset, length int16) (s Span, err error) {
	if s.Offset, err = integer(fields, offset, 0); err != nil {
		return s, err
	}
	if s.Length, err = integer(fields, length, 0); err != nil {
		return s, err
	}
	if s.Length == 0 {
		return Span{}, nil
	}
	return s, m.inside(s)
}

// inside checks that s lies between the leading magic and the footer.
func (m *Meta) inside(s Span) error {
	if s.Offset < int64(len(magic)) || s.Length < 0 || s.Offset > m.Start || s.Length > m.Start-s.Offset {
		return errors.New("points outside the file")
	}
	return nil
}

func (m *Meta) parseOrders() error {
	l, err := structs(m.top, fileColumnOrders)
	if err != nil {
		return err
	}
	if _, ok := find(m.top, fileColumnOrders); ok && l.count != len(m.Columns) {
		return fmt.Errorf("orders %d columns and has %d", l.count, len(m.Columns))
	}
	return nil
}

func (m *Meta) parseKeyValues() (err error) {
	if m.keyValueList, err = structs(m.top, fileKeyValues); err != nil {
		return err
	}
	return m.eachKeyValue(func(string, []byte, []byte) error { return nil })
}

// eachKeyValue gives every entry of the application metadata; value is nil if it
// has none, raw is the entry as it stands in the footer.
func (m *Meta) eachKeyValue(visit func(key string, value, raw []byte) error) error {
	return m.keyValueList.each(func(_ int, raw []byte) error {
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		key, err := text(fields, 1)
		if err != nil {
			return err
		}
		value, err := text(fields, 2)
		if err != nil {
			return err
		}
		return visit(string(key), value, raw)
	})
}

// KeyValues returns the application metadata; of a key that stands there twice
// the first.
func (m *Meta) KeyValues() map[string]string {
	all := make(map[string]string, m.keyValueList.count)
	// The list was walked when the footer was read, so this cannot fail.
	_ = m.eachKeyValue(func(key string, value, _ []byte) error {
		if _, known := all[key]; !known && value != nil {
			all[key] = string(value)
		}
		return nil
	})
	return all
}
