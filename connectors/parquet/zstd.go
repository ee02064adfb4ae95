package parquet

import (
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// sharedZstd compresses pages with encoders that stay, as many as there are
// processors. Arrow v17 makes one for every page, which takes longer than to use
// it.
type sharedZstd struct {
	compress.Codec // arrow's own, for all else
	encoder        *zstd.Encoder
}

func newSharedZstd() (*sharedZstd, error) {
	own, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return nil, err
	}
	// Pages are hardly longer than the window; the default one holds 8 MB for
	// each encoder.
	encoder, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return &sharedZstd{own, encoder}, nil
}

// EncodeLevel implements compress.Codec. Pages are written at no level but the
// default one.
func (z *sharedZstd) EncodeLevel(dst, src []byte, level int) []byte {
	if level != compress.DefaultCompressionLevel {
		return z.Codec.EncodeLevel(dst, src, level)
	}
	return z.encoder.EncodeAll(src, dst[:0])
}
