package chunk

import (
	"encoding/binary"
	"hash/crc32"

	format "github.com/xitongsys/parquet-go/parquet"

	"optsweep/connectors/parquet/footer"
)

// pageRows is how many rows go into one page: almost every row group gets a
// single page, and no page passes 8.2 MiB.
const pageRows = 1 << 20

// AppendFlags appends the pages of one row group to dst: data pages of version
// 1, uncompressed, PLAIN values behind RLE levels, which every reader knows.
// flags are in row order. The same input gives the same bytes.
func AppendFlags(dst []byte, rows int64, flags []Flag) ([]byte, []footer.Page, error) {
	var pages []footer.Page
	for first := int64(0); first < rows; first += pageRows {
		n := 0
		last := min(first+pageRows, rows)
		for n < len(flags) && flags[n].Row < last {
			n++
		}
		p := footer.Page{FirstRow: first, Rows: last - first, Nulls: last - first - int64(n)}
		body := appendLevels(nil, first, p.Rows, flags[:n])
		for i, f := range flags[:n] {
			body = binary.LittleEndian.AppendUint64(body, uint64(f.SinceMS))
			if i == 0 || f.SinceMS < p.Min {
				p.Min = f.SinceMS
			}
			if i == 0 || f.SinceMS > p.Max {
				p.Max = f.SinceMS
			}
		}
		flags = flags[n:]
		header, err := pageHeader(int32(p.Rows), body)
		if err != nil {
			return nil, nil, err
		}
		p.Size = int64(len(header) + len(body))
		dst = append(append(dst, header...), body...)
		pages = append(pages, p)
	}
	return dst, pages, nil
}

func pageHeader(rows int32, body []byte) ([]byte, error) {
	checksum := int32(crc32.ChecksumIEEE(body))
	return footer.Encode(&format.PageHeader{
		Type:                 format.PageType_DATA_PAGE,
		UncompressedPageSize: int32(len(body)),
		CompressedPageSize:   int32(len(body)),
		Crc:                  &checksum,
		DataPageHeader: &format.DataPageHeader{
			NumValues:               rows,
			Encoding:                format.Encoding_PLAIN,
			DefinitionLevelEncoding: format.Encoding_RLE,
			RepetitionLevelEncoding: format.Encoding_RLE,
		},
	})
}

// minRepeat is how many groups of 8 equal levels are worth a run of their own:
// a run costs up to 5 bytes, and so does the run of packed levels after it.
const minRepeat = 12

// appendLevels appends the definition levels of rows first to first+rows with
// their length in front, in the RLE/bit-packed hybrid of width 1.
func appendLevels(dst []byte, first, rows int64, flags []Flag) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	bitmap := make([]byte, (rows+7)/8)
	for _, f := range flags {
		row := f.Row - first
		bitmap[row>>3] |= 1 << (row & 7)
	}
	if rest := rows & 7; rest > 0 && len(flags) == int(rows) {
		bitmap[rows>>3] = 0xFF // all set: let the last group join the run
	}
	literal := 0 // first group that is not written yet
	for g := 0; g < len(bitmap); {
		end := g + 1
		if b := bitmap[g]; b == 0 || b == 0xFF {
			for end < len(bitmap) && bitmap[end] == b {
				end++
			}
			if end-g >= minRepeat || end-g == len(bitmap) {
				dst = appendPacked(dst, bitmap[literal:g])
				covered := min(int64(end)*8, rows) - int64(g)*8
				dst = binary.AppendUvarint(dst, uint64(covered)<<1)
				dst = append(dst, b&1)
				literal = end
			}
		}
		g = end
	}
	dst = appendPacked(dst, bitmap[literal:])
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func appendPacked(dst, groups []byte) []byte {
	if len(groups) == 0 {
		return dst
	}
	return append(binary.AppendUvarint(dst, uint64(len(groups))<<1|1), groups...)
}
