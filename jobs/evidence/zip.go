package evidence

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"optsweep/schemas"
)

// Limits of a pack. Files in it are stored, not compressed, so that a pack has
// one spelling whatever wrote it, and a small one cannot unfold into a big one.
const (
	maxPack      = 1<<32 - 1 // bytes; beyond that a zip file needs another layout
	maxEntries   = 1<<16 - 2
	maxDirectory = 16 << 20 // bytes of the list of files
	maxManifest  = 64 << 20 // bytes
	maxReport    = 256 << 20
)

// packTime stands for all files, so that the same content gives the same pack.
var packTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// packWriter writes a zip file whose bytes follow from names and contents.
type packWriter struct {
	zip     *zip.Writer
	out     *countingWriter
	entries []schemas.EvidenceEntry
}

func newPackWriter(w io.Writer) *packWriter {
	out := &countingWriter{w: w}
	return &packWriter{zip: zip.NewWriter(out), out: out}
}

// add writes one file.
func (p *packWriter) add(name string, write func(io.Writer) error) error {
	f, err := p.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: packTime})
	if err != nil {
		return err
	}
	sum := sha256.New()
	counted := &countingWriter{w: io.MultiWriter(f, sum)}
	if err := write(counted); err != nil {
		return err
	}
	p.entries = append(p.entries, schemas.EvidenceEntry{Name: name, Bytes: counted.n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	if len(p.entries) > maxEntries {
		return tooBig()
	}
	return nil
}

func (p *packWriter) addBytes(name string, data []byte) error {
	return p.add(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (p *packWriter) close() error {
	return p.zip.Close()
}

func tooBig() error {
	return schemas.Errorf(schemas.Usage, "the pack would have more than %d files or %d bytes", maxEntries, maxPack).
		WithHint("make several: --since and --until")
}

// countingWriter refuses to let a pack grow beyond its limit.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	if c.n+int64(len(b)) > maxPack {
		return 0, tooBig()
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// pack is an evidence pack open for reading. Nothing in it is trusted.
type pack struct {
	src   io.ReaderAt
	size  int64
	files []*zip.File
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)

// openPack reads the list of files of a pack.
func openPack(src io.ReaderAt, size int64) (*pack, error) {
	if err := checkEnd(src, size); err != nil {
		return nil, err
	}
	r, err := zip.NewReader(src, size)
	if err != nil {
		return nil, errors.New("it is no evidence pack, or was cut off or damaged")
	}
	p := &pack{src: src, size: size, files: r.File}
	seen := map[string]bool{}
	for _, f := range r.File {
		switch {
		case !goodName.MatchString(f.Name) || seen[f.Name]:
			return nil, errors.New("a name in its list of files is not one of an evidence pack, or stands there twice")
		case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 || f.UncompressedSize64 > uint64(size):
			return nil, fmt.Errorf("%s is not stored as in an evidence pack", f.Name)
		}
		seen[f.Name] = true
	}
	return p, nil
}

// checkEnd checks the fixed-size record at the end of a zip file (APPNOTE.TXT
// 4.3.16) before more memory is spent on the list of files than it can need.
func checkEnd(src io.ReaderAt, size int64) error {
	const endSize = 22
	if size > maxPack {
		return errors.New("it is too big for an evidence pack")
	}
	var end [endSize]byte
	if size < endSize {
		return errors.New("it is no evidence pack, or was cut off")
	}
	if _, err := src.ReadAt(end[:], size-endSize); err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(end[12:]))
	at := int64(binary.LittleEndian.Uint32(end[16:]))
	if string(end[:4]) != "PK\x05\x06" || at+length+endSize != size || length > maxDirectory {
		return errors.New("it is no evidence pack, or was cut off or damaged")
	}
	return nil
}

func (p *pack) file(name string) *zip.File {
	for _, f := range p.files {
		if f.Name == name {
			return f
		}
	}
	return nil
}

var errMissing = errors.New("it is missing")

// open opens a file of the pack. What it reads is checked against a CRC at its
// end.
func (p *pack) open(name string) (io.ReadCloser, error) {
	f := p.file(name)
	if f == nil {
		return nil, errMissing
	}
	return f.Open()
}

// read reads a whole file of at most limit bytes.
func (p *pack) read(name string, limit uint64) ([]byte, error) {
	f := p.file(name)
	if f == nil {
		return nil, errMissing
	}
	if f.UncompressedSize64 > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// canonical tells whether the pack has, to the byte, the one spelling that its
// files give.
func (p *pack) canonical(ctx context.Context) error {
	same := &comparer{ctx: ctx, src: io.NewSectionReader(p.src, 0, p.size)}
	w := newPackWriter(same)
	for _, f := range p.files {
		if err := w.add(f.Name, func(to io.Writer) error {
			r, err := f.Open()
			if err != nil {
				return err
			}
			defer r.Close()
			if _, err = io.Copy(to, r); errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) {
				err = fmt.Errorf("%s was changed or damaged", f.Name)
			}
			return err
		}); err != nil {
			return err
		}
	}
	if err := w.close(); err != nil {
		return err
	}
	if w.out.n != p.size {
		return errNotCanonical
	}
	return nil
}

var errNotCanonical = errors.New("bytes between its files were changed")

// comparer is a writer that wants the bytes of src.
type comparer struct {
	ctx context.Context
	src io.Reader
	buf []byte
}

func (c *comparer) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if cap(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	have := c.buf[:len(b)]
	if _, err := io.ReadFull(c.src, have); err != nil || string(have) != string(b) {
		return 0, errNotCanonical
	}
	return len(b), nil
}
