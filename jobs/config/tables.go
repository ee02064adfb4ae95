package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// pathAt is a data pattern and where it stands in the file.
type pathAt struct {
	value
	pattern string
}

// tables reads the list of tables and the rules between them and the
// workspace.
func tables(list, workspaceAt value, workspace string, defaults BigQueryTable) []Table {
	var out []Table
	byName := make(map[string]bool)
	written := make(map[string]string) // pattern and column, to the name of the table
	var own ownFiles
	for _, item := range list.items() {
		s := item.section()
		nameAt := s.required("name")
		t := Table{Name: nameAt.matching(tableName, "a letter or digit, then at most 62 letters, digits, '-' and '_'")}
		if name := strings.ToLower(t.Name); name != "" {
			if byName[name] {
				nameAt.fail("is the name of an earlier table too", "names differ by more than upper and lower case")
			}
			byName[name] = true
		}
		var path pathAt
		warehouse, writeAt := s.optional("bigquery"), s.nullable("write")
		if warehouse.present() {
			s.nullable("parquet")
			s.refuse("a table is either Parquet or BigQuery", "make two tables of it", "parquet")
			t.BigQuery = bigQueryTable(warehouse.section(), defaults)
			t.Write = bigQueryWrite(writeAt, t.BigQuery)
		} else {
			t.Parquet, path = parquet(s.required("parquet").section())
			t.Write = own.write(writeAt, t.Name, workspace)
		}
		if t.Write.Column != "" && (t.Write.Column == t.Parquet.IDColumn || t.BigQuery != nil && slices.Contains(t.BigQuery.IDColumns, t.Write.Column)) {
			writeAt.fail("would overwrite the id column", "name another column")
		}
		if t.BigQuery != nil && t.BigQuery.Table != "" {
			key := strings.Join([]string{t.BigQuery.Table, t.BigQuery.Filter, strings.Join(t.BigQuery.Partitions, ";"), string(t.Write.Mode), t.Write.Column, t.Write.Dataset}, "\x00")
			if other, twice := written[key]; twice {
				warehouse.fail(fmt.Sprintf("the same rows are written in the same way by %s already", other), "remove one of the two")
			}
			written[key] = "table " + t.Name
		}
		if path.pattern != "" {
			own.patterns = append(own.patterns, path)
			key := path.pattern + "\x00" + string(t.Write.Mode) + t.Write.Column
			if other, twice := written[key]; twice {
				path.fail(fmt.Sprintf("the same files are written in the same way by %s already", other), "remove one of the two")
			}
			written[key] = "table " + t.Name
			apart(path, workspaceAt, workspace)
		}
		s.done()
		out = append(out, t)
	}
	own.apart()
	return out
}

// apart checks that neither the workspace lies among the data nor the data in
// the workspace: each would take the other's files for its own.
func apart(path pathAt, workspaceAt value, workspace string) {
	if workspace == "" {
		return
	}
	folder, rest := doublestar.SplitPattern(filepath.ToSlash(path.pattern))
	if inside(workspace, folder) && strings.ContainsAny(rest, "*?[{") {
		workspaceAt.fail(fmt.Sprintf("lies inside the data folder of %s", path.key), "move it out of there, such as to ../workspace")
	}
	if inside(folder, workspace) {
		path.fail("lies inside the workspace", "keep data and workspace apart")
	}
}

// RunTablesIn says why run tables cannot be Parquet files in dir, or nothing:
// they would be taken for data or for a part of the workspace.
func (j *Job) RunTablesIn(dir string) (problem string) {
	if dir == "" {
		return ""
	}
	for _, t := range j.Tables {
		folder, rest := doublestar.SplitPattern(filepath.ToSlash(t.Parquet.Path))
		if t.Parquet.Path != "" && strings.ContainsAny(rest, "*?[{") && inside(dir, folder) {
			return "lies inside the data folder of table " + t.Name
		}
	}
	if j.Workspace != "" && inside(dir, j.Workspace) {
		return "lies inside the workspace"
	}
	return ""
}

// inside tells whether path is folder or lies below it, by name.
func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func parquet(s *section) (Parquet, pathAt) {
	at := s.required("path")
	path := pathAt{at, at.pattern()}
	p := Parquet{Path: path.pattern, IDColumn: s.required("id_column").columnName()}
	if v := s.optional("id_encoding"); v.present() {
		p.IDEncoding = v.oneOf("base64", "binary")
	}
	s.done()
	return p, path
}
