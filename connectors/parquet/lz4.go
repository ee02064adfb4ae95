package parquet

import (
	"errors"
	"io"

	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/pierrec/lz4/v4"
)

// lz4RawCodec is CompressionCodec LZ4_RAW of parquet.thrift, which arrow v17
// knows by name only.
const lz4RawCodec = compress.Compression(7)

// RegisterCodecs teaches arrow the codec LZ4_RAW, which copies without some rows
// need, and a faster way to write ZSTD. It is for the start of the process: arrow
// keeps its codecs in a map that has no lock. Without it, files in LZ4_RAW are
// refused.
func RegisterCodecs() {
	compress.RegisterCodec(lz4RawCodec, lz4Raw{})
	if z, err := newSharedZstd(); err == nil { // or arrow's own does it
		compress.RegisterCodec(compress.Codecs.Zstd, z)
	}
}

// lz4Raw compresses pages as LZ4 blocks. Arrow compresses and decompresses whole
// pages only.
type lz4Raw struct{}

// Decode fills dst, whose length is that of the page. What does not give just
// that is no page: arrow then finds no values in it.
func (lz4Raw) Decode(dst, src []byte) []byte {
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil || n != len(dst) {
		return nil
	}
	return dst
}

func (c lz4Raw) Encode(dst, src []byte) []byte {
	if need := int(c.CompressBound(int64(len(src)))); len(dst) < need {
		dst = make([]byte, need)
	}
	if len(src) == 0 {
		return append(dst[:0], 0) // a block of no literals
	}
	n, err := lz4.CompressBlock(src, dst, nil)
	if err != nil {
		return nil
	}
	return dst[:n]
}

func (c lz4Raw) EncodeLevel(dst, src []byte, _ int) []byte { return c.Encode(dst, src) }

func (lz4Raw) CompressBound(n int64) int64 { return int64(lz4.CompressBlockBound(int(n))) }

// Streams are not what a page is; nobody asks for them.

func (lz4Raw) NewReader(io.Reader) io.ReadCloser { return io.NopCloser(noStream{}) }

func (lz4Raw) NewWriter(io.Writer) io.WriteCloser { return noStream{} }

func (lz4Raw) NewWriterLevel(io.Writer, int) (io.WriteCloser, error) { return nil, errNoStream }

var errNoStream = errors.New("LZ4_RAW has no streams")

type noStream struct{}

func (noStream) Read([]byte) (int, error)  { return 0, errNoStream }
func (noStream) Write([]byte) (int, error) { return 0, errNoStream }
func (noStream) Close() error              { return errNoStream }
