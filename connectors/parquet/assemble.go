package parquet

import (
	"bytes"
	"io"
	"sort"

	"optsweep/connectors/parquet/footer"
)

// assembly is a file made of pieces, for reading it before it exists.
type assembly struct {
	pieces []*io.SectionReader
	ends   []int64 // where each piece ends in the whole
}

// assemble puts the new file together: the old bytes stay on disk.
func assemble(s *source, base *footer.Meta, groups []group, tail *footer.Tail) *assembly {
	a := &assembly{}
	a.add(s.file, 0, base.Size)
	for _, g := range groups {
		a.add(bytes.NewReader(g.bytes), 0, int64(len(g.bytes)))
	}
	for _, p := range tail.Parts {
		if p.Bytes != nil {
			a.add(bytes.NewReader(p.Bytes), 0, int64(len(p.Bytes)))
		} else {
			a.add(s.file, p.Copy.Offset, p.Copy.Length)
		}
	}
	return a
}

func (a *assembly) add(r io.ReaderAt, offset, length int64) {
	end := length
	if n := len(a.ends); n > 0 {
		end += a.ends[n-1]
	}
	a.pieces = append(a.pieces, io.NewSectionReader(r, offset, length))
	a.ends = append(a.ends, end)
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
