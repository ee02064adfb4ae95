package footer

import "errors"

// Kinds of pages and their encodings (parquet.thrift, PageType and Encoding).
const (
	DataPage       = 0
	DictionaryPage = 2
	DataPageV2     = 3

	Plain             = 0
	PlainDictionary   = 2
	RLE               = 3
	DeltaBinaryPacked = 5
	DeltaLength       = 6
	DeltaByteArray    = 7
	RLEDictionary     = 8
	ByteStreamSplit   = 9
)

// PageHeader is the header of one page.
type PageHeader struct {
	Kind         int64
	Size         int64 // bytes in the file after the header
	Uncompressed int64 // bytes after decompression
	Checksum     int64 // CRC-32 of the Size bytes
	HasChecksum  bool

	Values         int64 // NULLs included
	Encoding       int64
	LevelEncoding  int64 // of the definition levels; version 1 only
	RepeatEncoding int64 // of the repetition levels; version 1 only
	DefinitionSize int64 // bytes; version 2 only
	RepetitionSize int64 // bytes; version 2 only
	Compressed     bool  // version 2 only: apart from the levels
}

// ErrShort tells that more bytes may make a whole header.
var ErrShort = errShort

// ReadPageHeader parses the page header that b starts with and returns its
// length.
func ReadPageHeader(b []byte) (h PageHeader, n int, err error) {
	fields, n, err := parseStruct(b)
	if err != nil {
		return h, 0, err
	}
	if err := integers(fields, map[int16]*int64{1: &h.Kind, 2: &h.Uncompressed, 3: &h.Size, 4: &h.Checksum}); err != nil {
		return h, 0, err
	}
	_, h.HasChecksum = find(fields, 4)
	// Where the header of each kind stands in PageHeader.
	at, ok := map[int64]int16{DataPage: 5, DictionaryPage: 7, DataPageV2: 8}[h.Kind]
	if !ok {
		return h, n, h.check()
	}
	if _, ok := find(fields, at); !ok {
		return h, 0, errors.New("has a page header without its second part")
	}
	inner, err := group(fields, at)
	if err != nil {
		return h, 0, err
	}
	numbers := map[int16]*int64{1: &h.Values, 2: &h.Encoding}
	switch h.Kind {
	case DataPage:
		numbers[3], numbers[4] = &h.LevelEncoding, &h.RepeatEncoding
	case DataPageV2:
		delete(numbers, 2)
		numbers[4], numbers[5], numbers[6] = &h.Encoding, &h.DefinitionSize, &h.RepetitionSize
		compressed, ok := find(inner, 7)
		h.Compressed = !ok || compressed.typ == typeTrue
	}
	if err := integers(inner, numbers); err != nil {
		return h, 0, err
	}
	return h, n, h.check()
}

// check refuses sizes that would lead backwards or past what a page can have.
func (h PageHeader) check() error {
	for _, size := range []int64{h.Size, h.Uncompressed, h.Values, h.DefinitionSize, h.RepetitionSize} {
		if size < 0 || size > 1<<31-1 {
			return errors.New("has a page header with an impossible size")
		}
	}
	return nil
}

// integers reads several fields; a missing one is 0.
func integers(fields []field, into map[int16]*int64) (err error) {
	for id, v := range into {
		if *v, err = integer(fields, id, 0); err != nil {
			return err
		}
	}
	return nil
}
