package parquet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"optsweep/connectors/parquet/engines"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// source is an open file whose footer was read and found fit.
type source struct {
	file    *os.File
	info    fs.FileInfo
	version string
	meta    *footer.Meta
	id      idColumn
	ids     []footer.Chunk // of the id column
	cells   int64          // in it: one for each row, or for each element of its lists
	column  string         // name of the flag column
	flags   int            // its index, -1 if there is none yet

	flagType footer.FlagType // that it has; without meaning if there is none yet
}

func (s *source) close() { _ = s.file.Close() }

// open reads the footer of a file and refuses what cannot be treated.
func (t *Table) open(path string) (*source, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	s := &source{file: f, column: t.Column}
	if err := t.read(s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (t *Table) read(s *source) (err error) {
	if s.info, err = s.file.Stat(); err != nil {
		return err
	}
	if s.meta, err = footer.Read(s.file, s.info.Size()); err != nil {
		return err
	}
	s.version = version(s.info, s.meta.Digest())
	if format := engines.Lake(s.meta.KeyValues()); format != "" {
		return schemas.Errorf(schemas.Failed, "was written for a table of %s, whose manifests would no longer fit", format).
			WithHint("leave it out of the path, and flag an exported copy or a table in another store")
	}
	if s.id, err = findID(s.meta, t.IDColumn, t.IDEncoding); err != nil {
		return err
	}
	if err := t.readFlags(s); err != nil {
		return err
	}
	s.ids, err = s.meta.Chunks(s.id.leaf)
	for _, c := range s.ids {
		s.cells += c.Values
	}
	return err
}

// readFlags finds the flag column, of which only mode column has one.
func (t *Table) readFlags(s *source) (err error) {
	s.flags = -1
	if t.Mode != Column {
		return nil
	}
	if s.flags, err = findFlags(s.meta, t.Column); err != nil || s.flags < 0 {
		return err
	}
	s.flagType = s.meta.Columns[s.flags].Flags()
	if s.flagType != t.Type && !t.mayRetype(s) {
		return schemas.Errorf(schemas.Failed, "already has a column %q that is not a nullable %s, as the job wants it, and that another program may have written", t.Column, describe(t.Type)).
			WithHint("rename it, or choose another name with write.column, or its type with write.type")
	}
	return nil
}

// openFile opens a regular file; to open a pipe would block.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, openError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, schemas.Errorf(schemas.Failed, "is not a regular file").WithHint("leave it out of the path")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(err)
	}
	return f, nil
}

func errChanged() error {
	return schemas.Errorf(schemas.Failed, "changed during the run").
		WithHint("run again when no other program writes to it")
}

func openError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return schemas.Errorf(schemas.Failed, "is gone: %w", err).WithHint("run again to list the files anew")
	case errors.Is(err, fs.ErrPermission):
		return schemas.Errorf(schemas.Failed, "cannot be read: %w", err).WithHint("give this user permission to read the file")
	}
	return schemas.Errorf(schemas.Failed, "cannot be opened: %w", err)
}

// versionOf returns the version of an open file.
func versionOf(f interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	digest, err := footer.Digest(f, info.Size())
	if err != nil {
		return "", err
	}
	return version(info, digest), nil
}

func version(info fs.FileInfo, digest string) string {
	return fmt.Sprintf("%d-%d-%s", info.Size(), info.ModTime().UnixNano(), digest)
}

func typeName(t int64) string {
	names := []string{"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}
	if t < 0 || t >= int64(len(names)) {
		return "unknown"
	}
	return names[t]
}

// findFlags finds the flag column of an earlier run, -1 if there is none. A
// column that other programs might take for it is refused.
func findFlags(m *footer.Meta, name string) (int, error) {
	last, found := len(m.Columns)-1, -1
	for i, top := range m.Top {
		if !strings.EqualFold(top, name) {
			continue
		}
		if last < 0 {
			return 0, schemas.Errorf(schemas.Failed, "has no columns")
		}
		switch c := m.Columns[last]; {
		case top != name:
			return 0, schemas.Errorf(schemas.Failed, "column %q differs from %q by case only", top, name).
				WithHint("rename it, or choose another name with write.column")
		case i != len(m.Top)-1 || c.Flags() == "":
			return 0, schemas.Errorf(schemas.Failed,
				"already has a column %q that is not the last one or not a nullable INT64 timestamp (ms, UTC) or INT64", name).
				WithHint("rename it, or choose another name with write.column")
		case found >= 0:
			return 0, schemas.Errorf(schemas.Failed, "there are two columns %q", name)
		}
		found = last
	}
	return found, nil
}

// similar lists the names closest to name, or "none".
func similar(names []string, name string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return distance(strings.ToLower(n), strings.ToLower(name)) > max(2, len(name)/3) &&
			!strings.Contains(strings.ToLower(n), strings.ToLower(name))
	})
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names[:min(len(names), 5)], ", ")
}

// distance counts the edits between two short names (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0]++
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost = 1 + min(corner, row[j], row[j+1])
			}
			corner, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func describe(t footer.FlagType) string {
	if t == footer.Integer {
		return "INT64"
	}
	return "INT64 timestamp (ms, UTC)"
}

// added finds the file as it was before this program first added the flag
// column that it has now, nil if it did not.
func (t *Table) added(s *source) *footer.Meta {
	size := s.meta.Base()
	if s.flags < 0 || size <= 0 || size > s.meta.Start {
		return nil
	}
	base, err := footer.Read(io.NewSectionReader(s.file, 0, size), size)
	if err != nil {
		return nil
	}
	edits, err := t.edits(base, s.flagType)
	if err != nil || !s.meta.IsTailOf(base, t.Column, s.flagType, edits) {
		return nil
	}
	return base
}

// mayRetype tells whether the flag column can get another type: this program
// added it, and to a file that had none.
func (t *Table) mayRetype(s *source) bool {
	base := t.added(s)
	if base == nil {
		return false
	}
	before, err := findFlags(base, t.Column)
	return err == nil && before < 0
}

// baseOf finds the part of the file that a new flag column is put behind, and
// the edits that go with it: the file as it was before this program first added
// the column, or else the whole file.
func (t *Table) baseOf(s *source) (*footer.Meta, map[string]string, error) {
	if base := t.added(s); base != nil {
		edits, err := t.edits(base, t.Type)
		return base, edits, err
	}
	edits, err := t.edits(s.meta, t.Type)
	return s.meta, edits, err
}

// edits are the changes in the application metadata that adding the column to m
// needs: none if it is there already.
func (t *Table) edits(m *footer.Meta, typ footer.FlagType) (map[string]string, error) {
	if i, err := findFlags(m, t.Column); err != nil || i >= 0 {
		return nil, err
	}
	return engines.AddColumn(m.KeyValues(), t.Column, typ)
}
