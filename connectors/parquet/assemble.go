package parquet

import (
	"io"
	"sort"
)

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
