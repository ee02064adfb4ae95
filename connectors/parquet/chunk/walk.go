package chunk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"optsweep/connectors/parquet/footer"
)

// Walk checks the page headers of a chunk of any column, without decoding: the
// pages lie inside the chunk, hold as many values as it counts, and decompress
// to no more than can be. A reader that allocates what headers claim is safe
// behind it.
func Walk(ctx context.Context, r io.ReaderAt, c footer.Chunk) error {
	p := pages{r: r, at: c.Pages.Offset, end: c.Pages.Offset + c.Pages.Length}
	for left := c.Values; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := p.readHeader()
		if err != nil {
			return err
		}
		if h.Size > p.end-p.at {
			return errors.New("has a page that reaches beyond its column")
		}
		if size := h.Uncompressed; size > maxPage || size > freePage && size/maxGrowth > h.Size {
			return fmt.Errorf("has a page of %d bytes that claims to decompress to %d", h.Size, size)
		}
		p.at += h.Size
		switch h.Kind {
		case footer.DataPage, footer.DataPageV2:
			if left -= h.Values; left < 0 {
				return errors.New("has pages with more values than it counts")
			}
		case footer.DictionaryPage:
			// A value takes a bit at least.
			if h.Values > 8*h.Uncompressed {
				return errors.New("has a dictionary that ends within its values")
			}
		}
	}
	return nil
}
