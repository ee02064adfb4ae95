package chunk

import (
	"errors"

	"optsweep/connectors/parquet/footer"
)

// fixedDecoder turns pages of FIXED_LEN_BYTE_ARRAY values into PLAIN ones where
// arrow v17 knows only that and dictionaries.
type fixedDecoder struct {
	last []byte // value of the page before, for DELTA_BYTE_ARRAY: see checks.last
	room []byte // of the page's plain values; reused
}

// plain decodes the values of pg, each of so many bytes, if need be.
func (d *fixedDecoder) plain(pg *page, width int) (err error) {
	if pg.values == 0 || pg.encoding != footer.ByteStreamSplit && pg.encoding != footer.DeltaByteArray {
		return nil
	}
	if width > maxExpanded/pg.values {
		return errDelta
	}
	// What stands in the page bounds what is allocated.
	if pg.encoding == footer.ByteStreamSplit {
		if len(pg.data) != pg.values*width {
			return errors.New("ends within its values")
		}
		d.room = grow(d.room, len(pg.data))
		unsplit(d.room, pg.data, width)
	} else if err = d.delta(pg.data, pg.values, width); err != nil {
		return err
	}
	pg.encoding, pg.data = footer.Plain, d.room
	return nil
}

// unsplit undoes BYTE_STREAM_SPLIT: first byte 0 of all values, then byte 1 of
// all values, and so on.
func unsplit(dst, src []byte, width int) {
	n := len(src) / width
	for b := range width {
		stream := src[b*n : (b+1)*n]
		for i, v := range stream {
			dst[i*width+b] = v
		}
	}
}

// delta decodes n values in DELTA_BYTE_ARRAY into d.room.
func (d *fixedDecoder) delta(data []byte, n, width int) error {
	prefixes := make([]int32, 0, min(n, maxDelta))
	head, err := walkDelta(data, n, 32, func(v int64) error {
		prefixes = append(prefixes, int32(v))
		return nil
	})
	if err != nil {
		return err
	}
	data = data[head:]
	i := 0
	head, err = walkDelta(data, n, 32, func(length int64) error {
		if prefixes[i] < 0 || length < 0 || int64(prefixes[i])+length != int64(width) {
			return errDelta
		}
		i++
		return nil
	})
	if err != nil {
		return err
	}
	data = data[head:]
	d.room = grow(d.room, n*width)
	for i, prefix := range prefixes {
		value := d.room[i*width : (i+1)*width]
		if int(prefix) > len(d.last) || width-int(prefix) > len(data) {
			return errDelta
		}
		copy(value, d.last[:prefix])
		data = data[copy(value[prefix:], data):]
		d.last = value
	}
	d.last = append([]byte(nil), d.last...) // the room is reused
	return nil
}
