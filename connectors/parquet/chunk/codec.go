package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	format "github.com/xitongsys/parquet-go/parquet"
)

// codecLZ4Raw is CompressionCodec LZ4_RAW, newer than the Go structs.
const codecLZ4Raw = 7

var errSize = errors.New("decompresses to another size than its header says")

// decompressor fills dst, whose length is what the page header promises, and
// never allocates in proportion to what the compressed bytes claim.
type decompressor struct {
	codec int64
	zstd  *zstd.Decoder
	gzip  *gzip.Reader
}

// supported tells whether pages of this codec can be read.
func supported(codec int64) error {
	switch format.CompressionCodec(codec) {
	case format.CompressionCodec_UNCOMPRESSED, format.CompressionCodec_SNAPPY, format.CompressionCodec_GZIP,
		format.CompressionCodec_BROTLI, format.CompressionCodec_ZSTD, codecLZ4Raw:
		return nil
	}
	return fmt.Errorf("is compressed with codec %s, which is not supported", format.CompressionCodec(codec))
}

// compressed tells whether pages differ from their decompressed form.
func (d *decompressor) compressed() bool {
	return format.CompressionCodec(d.codec) != format.CompressionCodec_UNCOMPRESSED
}

func (d *decompressor) decode(dst, src []byte) (err error) {
	switch format.CompressionCodec(d.codec) {
	case format.CompressionCodec_SNAPPY:
		// snappy.Decode allocates what the first varint says.
		if size, n := binary.Uvarint(src); n <= 0 || size != uint64(len(dst)) {
			return errSize
		}
		_, err = snappy.Decode(dst, src)
		return err
	case format.CompressionCodec_ZSTD:
		if d.zstd == nil {
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return err
			}
		}
		out, err := d.zstd.DecodeAll(src, dst[:0:len(dst)])
		if err == nil && len(out) != len(dst) {
			err = errSize
		}
		return err
	case codecLZ4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err == nil && n != len(dst) {
			err = errSize
		}
		return err
	case format.CompressionCodec_GZIP:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(bytes.NewReader(src)); err != nil {
			return err
		}
		return fill(dst, d.gzip)
	case format.CompressionCodec_BROTLI:
		return fill(dst, brotli.NewReader(bytes.NewReader(src)))
	}
	return supported(d.codec)
}

// fill reads exactly len(dst) bytes up to the end of r.
func fill(dst []byte, r io.Reader) error {
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	var more [1]byte
	if n, err := io.ReadFull(r, more[:]); n != 0 || err != io.EOF {
		return errors.Join(errSize, err)
	}
	return nil
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}
