package sweep

import (
	"bufio"
	"encoding/csv"
	"strconv"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// leftOut lists the rows of an imported file that hold no usable opt-out: a CSV
// file with the columns row (from 0), reason and cell (a pseudonym; empty for
// NULL). The file is made with the first such row.
type leftOut struct {
	disk       durable.Disk
	path       string
	pseudonyms schemas.Pseudonyms

	file *durable.File
	buf  *bufio.Writer
	csv  *csv.Writer
}

func newLeftOut(disk durable.Disk, path string, p schemas.Pseudonyms) *leftOut {
	return &leftOut{disk: disk, path: path, pseudonyms: p}
}

func (l *leftOut) add(row int64, reason schemas.Reason, cell []byte) (err error) {
	if l.file == nil {
		if l.file, err = l.disk.Create(l.path, 0o600); err != nil {
			return err
		}
		l.buf = bufio.NewWriterSize(l.file, 1<<16)
		l.csv = csv.NewWriter(l.buf)
		if err := l.csv.Write([]string{"row", "reason", "cell"}); err != nil {
			return err
		}
	}
	name := ""
	if cell != nil {
		name = l.pseudonyms.Cell(cell)
	}
	return l.csv.Write([]string{strconv.FormatInt(row, 10), string(reason), name})
}

// publish puts the file in place.
func (l *leftOut) publish() error {
	l.csv.Flush()
	if err := l.csv.Error(); err != nil {
		return err
	}
	if err := l.buf.Flush(); err != nil {
		return err
	}
	return l.file.Publish()
}

func (l *leftOut) discard() {
	if l.file != nil {
		l.file.Discard()
	}
}
