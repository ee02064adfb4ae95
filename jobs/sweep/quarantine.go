package sweep

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"hash"
	"io"
	"path/filepath"
	"strconv"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// quarantine lists the cells of one unit that are no valid ids: a CSV file
// with the columns table, unit, row (from 0; empty where rows have no place),
// reason, cell (a pseudonym), and rows that are alike. The file is made with
// the first bad cell.
type quarantine struct {
	disk       durable.Disk
	path       string
	unit       schemas.Unit
	pseudonyms schemas.Pseudonyms
	example    *schemas.BadCell

	file *durable.File
	hash hash.Hash // of what is in the file
	buf  *bufio.Writer
	csv  *csv.Writer
}

func newQuarantine(disk durable.Disk, path string, u schemas.Unit, p schemas.Pseudonyms) *quarantine {
	return &quarantine{disk: disk, path: path, unit: u, pseudonyms: p}
}

func (q *quarantine) add(row, n int64, reason schemas.Reason, cell []byte) error {
	name := q.pseudonyms.Cell(cell)
	if q.file == nil {
		if err := q.create(); err != nil {
			return err
		}
		q.example = &schemas.BadCell{Unit: q.unit.Name, Row: row, Reason: reason, Pseudonym: name}
	}
	return q.write(q.unit, row, n, reason, name)
}

// addID lists a row, or n rows that are alike, with an id that has no verdict.
// Of an id whose rows could not be read the unit is empty and n is 0.
func (q *quarantine) addID(u schemas.Unit, row, n int64, reason schemas.Reason, pseudonym string) error {
	if q.file == nil {
		if err := q.create(); err != nil {
			return err
		}
	}
	return q.write(u, row, n, reason, pseudonym)
}

func (q *quarantine) write(u schemas.Unit, row, n int64, reason schemas.Reason, pseudonym string) error {
	at := ""
	if row != schemas.NoRow {
		at = strconv.FormatInt(row, 10)
	}
	return q.csv.Write([]string{u.Table, u.Name, at, string(reason), pseudonym, strconv.FormatInt(n, 10)})
}

func (q *quarantine) create() (err error) {
	if err := q.disk.MkdirAll(filepath.Dir(q.path), 0o700); err != nil {
		return err
	}
	if q.file, err = q.disk.Create(q.path, 0o600); err != nil {
		return err
	}
	q.hash = sha256.New()
	q.buf = bufio.NewWriterSize(io.MultiWriter(q.file, q.hash), 1<<16)
	q.csv = csv.NewWriter(q.buf)
	return q.csv.Write([]string{"table", "unit", "row", "reason", "cell", "rows"})
}

// publish puts the file in place if there is one.
func (q *quarantine) publish() error {
	if q.file == nil {
		return nil
	}
	q.csv.Flush()
	if err := q.csv.Error(); err != nil {
		return err
	}
	if err := q.buf.Flush(); err != nil {
		return err
	}
	return q.file.Publish()
}

// digest is the SHA-256 of the published file; empty if there is none.
func (q *quarantine) digest() string {
	if q.file == nil {
		return ""
	}
	return hex.EncodeToString(q.hash.Sum(nil))
}

func (q *quarantine) discard() {
	if q.file != nil {
		q.file.Discard()
	}
}
