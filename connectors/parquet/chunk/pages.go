package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"optsweep/connectors/parquet/footer"
)

const (
	firstHeader = 512      // bytes read at first to find a page header
	maxHeader   = 16 << 20 // a header beyond this is damage; statistics may be long
	maxPage     = 1 << 30  // bytes of a decompressed page
	freePage    = 64 << 20 // up to here a page may grow by any factor ...
	maxGrowth   = 256      // ... and beyond by this one
)

// page is one page, decompressed. Its bytes are valid until the next page of
// the same kind (dictionary or data) is read.
type page struct {
	dictionary bool
	encoding   int64
	rows       int    // cells of a data page; entries of a dictionary
	values     int    // cells that are not NULL
	repeats    []byte // repetition levels; nil if the column is not repeated
	levels     []byte // definition levels; nil if the column is required
	data       []byte // values
}

// pages reads the pages of one column chunk after the other.
type pages struct {
	r              io.ReaderAt
	maxDef, maxRep int
	decompressor
	at, end int64 // what is left of the chunk in the file
	left    int64 // cells not seen yet

	header, packed, plain, dictionary []byte // reused
}

// reset turns to another chunk.
func (p *pages) reset(c footer.Chunk) error {
	p.codec, p.at, p.end, p.left = c.Codec, c.Pages.Offset, c.Pages.Offset+c.Pages.Length, c.Values
	return supported(c.Codec)
}

// next reads the next page that matters; ok is false after the last row.
func (p *pages) next() (pg page, ok bool, err error) {
	for p.left > 0 {
		h, err := p.readHeader()
		if err != nil {
			return page{}, false, err
		}
		if h.Size > p.end-p.at {
			return page{}, false, errors.New("has a page that reaches beyond its column")
		}
		body := p.at
		p.at += h.Size
		switch h.Kind {
		case footer.DictionaryPage:
			pg, err = p.readDictionary(h, body)
		case footer.DataPage:
			pg, err = p.readV1(h, body)
		case footer.DataPageV2:
			pg, err = p.readV2(h, body)
		default:
			continue // readers may pass over other kinds of pages
		}
		if err != nil {
			return page{}, false, err
		}
		if !pg.dictionary {
			p.left -= int64(pg.rows)
		}
		return pg, true, nil
	}
	return page{}, false, nil
}

// readHeader reads the page header at p.at and moves behind it.
func (p *pages) readHeader() (footer.PageHeader, error) {
	for want := int64(firstHeader); ; want *= 8 {
		want = min(want, p.end-p.at, maxHeader)
		if want <= 0 {
			return footer.PageHeader{}, errors.New("ends before its last row")
		}
		p.header = grow(p.header, int(want))
		if err := readAt(p.r, p.header, p.at); err != nil {
			return footer.PageHeader{}, err
		}
		h, n, err := footer.ReadPageHeader(p.header)
		if err == nil {
			p.at += int64(n)
			return h, nil
		}
		if !errors.Is(err, footer.ErrShort) || want == p.end-p.at || want == maxHeader {
			return footer.PageHeader{}, fmt.Errorf("has a page header that %w", err)
		}
	}
}

// load reads a page, of which the first raw bytes are never compressed, into
// buffer and checks its checksum.
func (p *pages) load(buffer *[]byte, h footer.PageHeader, at int64, raw int, compressed bool) ([]byte, error) {
	packed, size := int(h.Size), int(h.Uncompressed)
	switch {
	case raw > packed || raw > size:
		return nil, errLevels
	case !compressed && packed != size:
		return nil, errSize
	case size > maxPage || size > freePage && size/maxGrowth > packed:
		return nil, fmt.Errorf("has a page of %d bytes that claims to decompress to %d", packed, size)
	}
	*buffer = grow(*buffer, size)
	src := *buffer
	if compressed {
		p.packed = grow(p.packed, packed)
		src = p.packed
	}
	if err := readAt(p.r, src, at); err != nil {
		return nil, err
	}
	if h.HasChecksum && uint32(h.Checksum) != crc32.ChecksumIEEE(src) {
		return nil, errors.New("has a page whose checksum does not fit")
	}
	if !compressed {
		return *buffer, nil
	}
	copy(*buffer, src[:raw])
	if size == raw && packed == raw {
		return *buffer, nil // all NULL: there is nothing to decompress
	}
	if err := p.decode((*buffer)[raw:], src[raw:]); err != nil {
		return nil, fmt.Errorf("has a page that does not decompress: %w", err)
	}
	return *buffer, nil
}

func (p *pages) readDictionary(h footer.PageHeader, at int64) (page, error) {
	if h.Encoding != footer.Plain && h.Encoding != footer.PlainDictionary {
		return page{}, fmt.Errorf("has a dictionary in encoding %d, which is not supported", h.Encoding)
	}
	data, err := p.load(&p.dictionary, h, at, 0, p.compressed())
	if err != nil {
		return page{}, err
	}
	return page{dictionary: true, rows: int(h.Values), values: int(h.Values), data: data}, nil
}

func (p *pages) readV1(h footer.PageHeader, at int64) (page, error) {
	data, err := p.load(&p.plain, h, at, 0, p.compressed())
	if err != nil {
		return page{}, err
	}
	var repeats, levels []byte
	if p.maxRep > 0 {
		if repeats, data, err = cutLevels(data, h.RepeatEncoding); err != nil {
			return page{}, err
		}
	}
	if p.maxDef > 0 {
		if levels, data, err = cutLevels(data, h.LevelEncoding); err != nil {
			return page{}, err
		}
	}
	return p.dataPage(h, repeats, levels, data)
}

// cutLevels cuts the levels with their length off a page of version 1.
func cutLevels(data []byte, encoding int64) (levels, rest []byte, err error) {
	if encoding != footer.RLE {
		return nil, nil, fmt.Errorf("has levels in encoding %d, which is not supported", encoding)
	}
	if len(data) < 4 {
		return nil, nil, errLevels
	}
	size := int64(binary.LittleEndian.Uint32(data))
	data = data[4:]
	if size > int64(len(data)) {
		return nil, nil, errLevels
	}
	return data[:size:size], data[size:], nil
}

func (p *pages) readV2(h footer.PageHeader, at int64) (page, error) {
	levels := h.RepetitionSize + h.DefinitionSize
	data, err := p.load(&p.plain, h, at, int(levels), p.compressed() && h.Compressed)
	if err != nil {
		return page{}, err
	}
	return p.dataPage(h, data[:h.RepetitionSize:h.RepetitionSize], data[h.RepetitionSize:levels:levels], data[levels:])
}

func (p *pages) dataPage(h footer.PageHeader, repeats, levels, data []byte) (pg page, err error) {
	if h.Values > p.left {
		return page{}, errors.New("has more values than rows")
	}
	pg = page{encoding: h.Encoding, rows: int(h.Values), values: int(h.Values), data: data}
	if p.maxRep > 0 {
		pg.repeats = repeats
		if _, err := countLevels(repeats, pg.rows, uint32(p.maxRep), 0); err != nil {
			return pg, errRepeats
		}
	}
	if p.maxDef > 0 {
		pg.levels = levels
		pg.values, err = countLevels(levels, pg.rows, uint32(p.maxDef), uint32(p.maxDef))
	}
	return pg, err
}

// grow returns a slice of n bytes, b's own if it is large enough.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n, n+n/8)
	}
	return b[:n]
}

func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("cannot be read: %w", err)
}
