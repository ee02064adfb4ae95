package idset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"sync/atomic"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// kind is what the records of a file are.
type kind string

const (
	idKind   kind = "ids "
	listKind kind = "list"
	rowKind  kind = "rows"
)

const (
	magic         = "optsweep"
	formatVersion = 1
	headerSize    = 16
	trailerSize   = 8 + sha256.Size
	blockRecords  = 1024 // records that share a checksum
	sumSize       = 4
	fileMode      = 0o600 // ids are personal data

	idWidth   = schemas.IDSize
	listWidth = schemas.IDSize + 8 + 8
)

// width is the size of a record in bytes.
func (k kind) width() int {
	switch k {
	case listKind:
		return listWidth
	case rowKind:
		return rowsWidth
	}
	return idWidth
}

func (k kind) header() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, k...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	return binary.BigEndian.AppendUint16(b, uint16(k.width()))
}

// seal makes the trailer of a file with count records and the given index.
func (k kind) seal(count int64, index []byte) []byte {
	trailer := binary.BigEndian.AppendUint64(nil, uint64(count))
	h := sha256.New()
	h.Write(k.header())
	h.Write(index)
	h.Write(trailer)
	return h.Sum(trailer)
}

// castagnoli is never written after it is made.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Info describes a file of ids.
type Info struct {
	IDs    int64  `json:"ids"`    // all different
	Bytes  int64  `json:"bytes"`  // size of the file
	Digest string `json:"digest"` // names the set of ids; hexadecimal
}

// encoder writes the layout of a file to dst. Checksums and writes happen in a
// goroutine of its own, so that they overlap with the work that finds the next
// records. stop must be called, also after finish.
type encoder struct {
	dst     io.Writer
	kind    kind
	buf     []byte // being filled, up to size
	size    int
	count   int64
	full    chan []byte // to the goroutine
	free    chan []byte // back from it
	done    chan struct{}
	stopped bool
	failed  atomic.Bool // set once err is

	// These belong to the goroutine until done is closed.
	index []byte
	err   error
}

// encoderBlocks is the number of blocks in one of the two buffers of an
// encoder.
const encoderBlocks = 8

func newEncoder(dst io.Writer, k kind) *encoder {
	e := &encoder{
		dst:  dst,
		kind: k,
		size: encoderBlocks * blockRecords * k.width(),
		full: make(chan []byte, 1),
		free: make(chan []byte, 2),
		done: make(chan struct{}),
	}
	e.free <- nil // the second buffer, which grows like the first
	go e.write()
	return e
}

func (e *encoder) write() {
	defer close(e.done)
	_, e.err = e.dst.Write(e.kind.header())
	block := blockRecords * e.kind.width()
	for buf := range e.full {
		for at := 0; at < len(buf) && e.err == nil; at += block {
			sum := crc32.Checksum(buf[at:min(at+block, len(buf))], castagnoli)
			e.index = binary.BigEndian.AppendUint32(e.index, sum)
		}
		if e.err == nil {
			_, e.err = e.dst.Write(buf)
		}
		if e.err != nil {
			e.failed.Store(true)
		}
		e.free <- buf[:0]
	}
}

// append adds one record, or several whole ones that lie in a row.
func (e *encoder) append(records []byte) error {
	for len(records) > 0 {
		if len(e.buf) == e.size {
			if err := e.flush(); err != nil {
				return err
			}
		}
		n := min(len(records), e.size-len(e.buf))
		e.buf = append(e.buf, records[:n]...)
		records = records[n:]
	}
	return nil
}

// flush hands the buffer over. Only the last one may be partly filled.
func (e *encoder) flush() error {
	e.count += int64(len(e.buf) / e.kind.width())
	e.full <- e.buf
	e.buf = <-e.free
	if e.failed.Load() {
		e.stop()
		return e.err
	}
	return nil
}

// finish writes what is left, the index and the trailer.
func (e *encoder) finish() (Info, error) {
	if len(e.buf) > 0 {
		e.count += int64(len(e.buf) / e.kind.width())
		e.full <- e.buf
	}
	e.stop()
	if e.err != nil {
		return Info{}, e.err
	}
	trailer := e.kind.seal(e.count, e.index)
	if _, err := e.dst.Write(append(e.index, trailer...)); err != nil {
		return Info{}, err
	}
	return newInfo(e.kind, e.count, trailer), nil
}

// stop ends the goroutine; it may be called again.
func (e *encoder) stop() {
	if !e.stopped {
		e.stopped = true
		close(e.full)
		<-e.done
	}
}

func newInfo(k kind, count int64, trailer []byte) Info {
	return Info{IDs: count, Bytes: fileSize(k, count), Digest: hex.EncodeToString(trailer[8:])}
}

func blocksOf(count int64) int64 { return (count + blockRecords - 1) / blockRecords }

func fileSize(k kind, count int64) int64 {
	return headerSize + count*int64(k.width()) + blocksOf(count)*sumSize + trailerSize
}

// output is a file of records that is being written and not yet in place.
type output struct {
	file *durable.File
	*encoder
}

// create opens an output for path. What is written is copied to tee, unless
// that is nil.
func create(disk durable.Disk, path string, k kind, tee hash.Hash) (*output, error) {
	f, err := disk.Create(path, fileMode)
	if err != nil {
		return nil, err
	}
	var dst io.Writer = f
	if tee != nil {
		dst = io.MultiWriter(f, tee)
	}
	return &output{file: f, encoder: newEncoder(dst, k)}, nil
}

// publish completes the file and puts it in place.
func (o *output) publish() (Info, error) {
	info, err := o.finish()
	if err != nil {
		return Info{}, err
	}
	return info, o.file.Publish()
}

// discard drops the file unless it was published.
func (o *output) discard() {
	o.stop()
	o.file.Discard()
}

// file is a complete file of records, open for reading. Its index and trailer
// have been checked; blocks are checked as they are read.
type file struct {
	name    string
	src     io.ReaderAt
	close   func()
	kind    kind
	count   int64
	index   []byte
	trailer []byte
}

// open opens the file at path.
func open(path string, k kind) (*file, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stat, err := src.Stat()
	if err != nil {
		_ = src.Close()
		return nil, err
	}
	f, err := parse(path, src, stat.Size(), k)
	if err != nil {
		_ = src.Close()
		return nil, err
	}
	f.close = func() { _ = src.Close() }
	return f, nil
}

// parse reads header, index and trailer of a file of size bytes. The close
// function of the result does nothing.
func parse(name string, src io.ReaderAt, size int64, k kind) (*file, error) {
	f := &file{name: name, src: src, close: func() {}, kind: k, trailer: make([]byte, trailerSize)}
	if size < headerSize+trailerSize {
		return nil, f.damaged("it has only %d bytes", size)
	}
	header := make([]byte, headerSize)
	if err := f.read(header, 0); err != nil {
		return nil, err
	}
	if string(header) != string(k.header()) {
		return nil, f.damaged("its header is not that of a version %d file of kind %q", formatVersion, k)
	}
	if err := f.read(f.trailer, size-trailerSize); err != nil {
		return nil, err
	}
	count := binary.BigEndian.Uint64(f.trailer)
	if count > uint64(size)/uint64(k.width()) || fileSize(k, int64(count)) != size {
		return nil, f.damaged("its %d bytes do not fit the number of records in its trailer", size)
	}
	f.count = int64(count)
	f.index = make([]byte, blocksOf(f.count)*sumSize)
	if err := f.read(f.index, size-trailerSize-int64(len(f.index))); err != nil {
		return nil, err
	}
	if string(k.seal(f.count, f.index)) != string(f.trailer) {
		return nil, f.damaged("its index does not match its digest")
	}
	return f, nil
}

func (f *file) info() Info { return newInfo(f.kind, f.count, f.trailer) }

func (f *file) read(dst []byte, at int64) error {
	n, err := f.src.ReadAt(dst, at)
	switch {
	case n == len(dst):
		return nil
	case errors.Is(err, io.EOF):
		return f.damaged("it ends early")
	default:
		return fmt.Errorf("read %s: %w", f.name, err)
	}
}

// readBlock reads and checks block n. dst has room for a whole block; the
// result is the part of it that was filled.
func (f *file) readBlock(n int64, dst []byte) ([]byte, error) {
	first := n * blockRecords
	dst = dst[:min(blockRecords, f.count-first)*int64(f.kind.width())]
	if err := f.read(dst, headerSize+first*int64(f.kind.width())); err != nil {
		return nil, err
	}
	if crc32.Checksum(dst, castagnoli) != binary.BigEndian.Uint32(f.index[n*sumSize:]) {
		return nil, f.damaged("the checksum of block %d is wrong", n)
	}
	return dst, nil
}

func (f *file) damaged(format string, args ...any) error {
	hint := "ids are extracted again when the run's id files are removed; check the disk first"
	if f.kind == listKind {
		hint = "put the suppression list back from a backup: without it earlier opt-outs would be forgotten"
	}
	return schemas.Errorf(schemas.Failed, "%s is damaged: %s", f.name, fmt.Sprintf(format, args...)).WithHint("%s", hint)
}

// cursor reads the records of a file one after the other.
type cursor struct {
	*file
	block int64  // the next to read
	buf   []byte // room for a block
	rest  []byte // records of the last block that are not used yet
}

func newCursor(f *file) *cursor {
	return &cursor{file: f, buf: make([]byte, blockRecords*f.kind.width())}
}

// fill makes sure that rest holds a record; at the end it gives io.EOF.
func (c *cursor) fill() (err error) {
	if len(c.rest) > 0 {
		return nil
	}
	if c.block == blocksOf(c.count) {
		return io.EOF
	}
	if c.rest, err = c.readBlock(c.block, c.buf); err != nil {
		return err
	}
	c.block++
	return nil
}

// seek goes to record n, which must not be behind the end.
func (c *cursor) seek(n int64) error {
	c.block, c.rest = n/blockRecords, nil
	skip := int(n%blockRecords) * c.kind.width()
	if skip == 0 {
		return nil
	}
	if err := c.fill(); err != nil {
		return err
	}
	c.rest = c.rest[skip:]
	return nil
}

// Verify checks every byte of the file of ids at path and describes it.
func Verify(ctx context.Context, path string) (Info, error) {
	f, err := open(path, idKind)
	if err != nil {
		return Info{}, err
	}
	defer f.close()
	return f.info(), copyRecords(ctx, f, func([]byte) error { return nil })
}

// ReadInfo checks that path is a complete file of ids and describes it. It
// reads little more than the trailer; the ids themselves are checked when they
// are read.
func ReadInfo(path string) (Info, error) {
	f, err := open(path, idKind)
	if err != nil {
		return Info{}, err
	}
	defer f.close()
	return f.info(), nil
}
