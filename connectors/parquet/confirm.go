package parquet

import (
	"io"
	"sort"

	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// confirm reads the flag column of a finished file back, through the footer
// that stands in the file and with arrow's own reader from the pages up, and
// compares it with what was meant. It returns the number of flags.
func confirm(r io.ReaderAt, size int64, before *footer.Meta, typ footer.FlagType, want proof) (int64, error) {
	after, err := footer.Read(r, size)
	if err != nil {
		return 0, err
	}
	last := len(after.Columns) - 1
	if after.Rows != before.Rows || len(after.Groups) != len(before.Groups) || last < 0 || after.Columns[last].Flags() != typ {
		return 0, errUnconfirmed()
	}
	raw, err := after.Project(last)
	if err != nil {
		return 0, err
	}
	got, err := readBack(io.NewSectionReader(r, 0, size), raw)
	if err != nil {
		return 0, err
	}
	if got != want {
		return 0, errUnconfirmed()
	}
	return got.flags, nil
}

func errUnconfirmed() error {
	return schemas.Errorf(schemas.Integrity, "the new file does not read back as it was meant").
		WithHint("the original is untouched; check the disk, and report this if it happens again")
}

// readBack sums up the only column of a footer.
func readBack(r *io.SectionReader, raw []byte) (p proof, err error) {
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			p, err = proof{}, errUnconfirmed()
		}
	}()
	meta, err := metadata.NewFileMetaData(raw, nil)
	if err != nil {
		return p, err
	}
	reader, err := file.NewParquetReader(r, file.WithMetadata(meta))
	if err != nil {
		return p, err
	}
	const batch = 8192
	values, levels := make([]int64, batch), make([]int16, batch)
	var row int64
	for g := range reader.NumRowGroups() {
		column, err := reader.RowGroup(g).Column(0)
		if err != nil {
			return p, err
		}
		flags, ok := column.(*file.Int64ColumnChunkReader)
		if !ok {
			return p, errUnconfirmed()
		}
		for flags.HasNext() {
			rows, _, err := flags.ReadBatch(batch, values, levels, nil)
			if err != nil {
				return p, err
			}
			if rows == 0 {
				return p, errUnconfirmed()
			}
			next := 0
			for _, level := range levels[:rows] {
				if level == 1 {
					p.add(row, values[next])
					next++
				}
				row++
			}
		}
		if err := flags.Err(); err != nil {
			return p, err
		}
	}
	if row != meta.NumRows {
		return p, errUnconfirmed()
	}
	return p, nil
}

// assembly is a file made of pieces, for reading it before it exists.
type assembly struct {
	pieces []*io.SectionReader
	ends   []int64 // where each piece ends in the whole
}

// assemble puts the new file together: the old bytes stay on disk.
func (c *change) assemble(groups []group) *assembly {
	a := &assembly{}
	end := int64(0)
	for _, piece := range append([]*io.SectionReader{io.NewSectionReader(c.file, 0, c.base.Size)}, c.tailPieces(groups)...) {
		end += piece.Size()
		a.pieces, a.ends = append(a.pieces, piece), append(a.ends, end)
	}
	return a
}

// ReadAt implements io.ReaderAt.
func (a *assembly) ReadAt(b []byte, at int64) (n int, err error) {
	i := sort.Search(len(a.ends), func(i int) bool { return a.ends[i] > at })
	for ; n < len(b) && i < len(a.pieces); i++ {
		piece := a.pieces[i]
		start := a.ends[i] - piece.Size()
		m, err := piece.ReadAt(b[n:], at+int64(n)-start)
		n += m
		if err != nil && err != io.EOF {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
