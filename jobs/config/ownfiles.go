package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Folders of the workspace for what tables of Parquet files leave beside
// themselves, unless write.path says otherwise.
const (
	SuppressedFolder = "suppressed" // TABLE.parquet: the list of mode suppression
	RemovedFolder    = "removed"    // TABLE/: what mode remove has taken out
)

// ownFiles are the files that optsweep makes beside tables of Parquet files, and
// the patterns that none of them may match: the next run would take them for
// data.
type ownFiles struct {
	patterns []pathAt
	made     []madeFile
}

type madeFile struct {
	at     value
	mode   WriteMode
	path   string // the file or folder
	sample string // a file
}

// write reads how opt-outs are written back to Parquet files.
func (o *ownFiles) write(at value, table, workspace string) Write {
	s := at.section()
	w := Write{Mode: Column}
	if v := s.optional("mode"); v.present() {
		w.Mode = WriteMode(v.oneOf(string(Column), string(Suppression), string(Remove)))
	}
	column, typ, path, keep := s.optional("column"), s.optional("type"), s.optional("path"), s.optional("keep")
	made := madeFile{at: path, mode: w.Mode}
	if !path.present() {
		made.at = at
	}
	switch w.Mode {
	case Column:
		w.Column = DefaultColumn
		if column.present() {
			w.Column = column.columnName()
		}
		if typ.oneOf("timestamp", "int64") == "int64" {
			w.Type = "int64"
		}
		s.refuse("is not for mode column", "remove it", "path", "keep")
	case Suppression:
		w.Path = filepath.Join(workspace, SuppressedFolder, table+".parquet")
		if path.present() {
			w.Path = path.path()
		}
		made.path, made.sample = w.Path, w.Path
		o.made = append(o.made, made)
		s.refuse("is not for mode suppression", "remove it", "column", "type", "keep")
	case Remove:
		if w.Drop = keep.present() && !keep.boolean(); w.Drop {
			s.refuse("is for rows that are kept", "remove it, or keep: false with it", "path")
		} else {
			w.Path = filepath.Join(workspace, RemovedFolder, table)
			if path.present() {
				w.Path = path.path()
			}
			made.path, made.sample = w.Path, filepath.Join(w.Path, "part-0-0123456789abcdef.parquet")
			o.made = append(o.made, made)
		}
		s.refuse("is not for mode remove", "remove it", "column", "type")
	}
	s.done()
	return w
}

// apart checks that no file of optsweep's is taken for data, and that no two
// tables share one.
func (o *ownFiles) apart() {
	seen := map[string]bool{}
	for _, m := range o.made {
		if !filepath.IsAbs(m.path) {
			continue // and that is a problem already
		}
		if seen[strings.ToLower(m.path)] {
			m.at.fail("is that of another table too", "each table needs its own")
		}
		seen[strings.ToLower(m.path)] = true
		for _, p := range o.patterns {
			if match, err := doublestar.PathMatch(p.pattern, m.sample); err == nil && match {
				m.at.fail(fmt.Sprintf("would be taken for data: it matches %s", p.key), "keep it elsewhere with write.path")
			}
		}
	}
}
