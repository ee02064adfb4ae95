package optoutlog

import (
	"bufio"
	"path/filepath"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// WriterOptions say which delta file to write.
type WriterOptions struct {
	Dir        string    // existing folder
	Replica    int       // number of the producer, 0 to 998
	Start, End time.Time // window in which the opt-outs came in
	Disk       durable.Disk
}

// Writer writes one delta file as the opt-out service does: an all-zero entry
// with the start of the window, the opt-outs in the order they came in, an
// all-ones entry with its end (optout DeltaFileWriter.java). The file appears
// whole, or not at all.
type Writer struct {
	opts WriterOptions
	path string
	file *durable.File
	buf  *bufio.Writer
	one  []byte
	n    int
}

// Create starts a delta file. Call Publish or Discard in the end.
func Create(opts WriterOptions) (*Writer, error) {
	if opts.Replica < 0 || opts.Replica >= Synthetic {
		return nil, schemas.Errorf(schemas.Usage, "replica id %d of an opt-out log is not within 0 to %d", opts.Replica, Synthetic-1)
	}
	w := &Writer{opts: opts, path: filepath.Join(opts.Dir, newName(opts.Replica, opts.Start).String())}
	var err error
	if w.file, err = opts.Disk.Create(w.path, 0o600); err != nil {
		return nil, err
	}
	w.buf = bufio.NewWriterSize(w.file, 1<<20)
	_, err = w.buf.Write(appendSentinel(nil, 0x00, opts.Start.Unix()))
	if err != nil {
		w.Discard()
		return nil, err
	}
	return w, nil
}

// Add writes one opt-out.
func (w *Writer) Add(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	w.one = Append(w.one[:0], e)
	w.n++
	_, err := w.buf.Write(w.one)
	return err
}

// Publish completes the file and puts it in place; it is durable on return.
// Without a single opt-out there is no file, and path is empty.
func (w *Writer) Publish() (path string, err error) {
	defer w.Discard()
	if w.n == 0 {
		return "", nil
	}
	if _, err := w.buf.Write(appendSentinel(nil, 0xFF, w.opts.End.Unix())); err != nil {
		return "", err
	}
	if err := w.buf.Flush(); err != nil {
		return "", err
	}
	if err := w.file.Publish(); err != nil {
		return "", err
	}
	return w.path, nil
}

// Discard drops a file that was not published.
func (w *Writer) Discard() { w.file.Discard() }

// Write writes a delta file with entries and makes it durable. The path is
// empty if there are none.
func Write(opts WriterOptions, entries []Entry) (path string, err error) {
	w, err := Create(opts)
	if err != nil {
		return "", err
	}
	defer w.Discard()
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			return "", err
		}
	}
	return w.Publish()
}
