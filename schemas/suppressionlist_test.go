package schemas_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
)

// The published schema of a suppression list is that of its columns.
func TestPublishedSuppressionList(t *testing.T) {
	parquet := "message optsweep_suppression {\n"
	ddl := "-- The columns of a suppression list (" + schemas.SuppressionListSchema + "), a Parquet file sorted by id.\nCREATE TABLE optsweep_suppression (\n"
	columns := schemas.SuppressionListColumns()
	for i, c := range columns {
		physical, sql := "binary %s (STRING)", "STRING"
		if c.Type == schemas.TimestampColumn {
			physical, sql = "int64 %s (TIMESTAMP(MILLIS,true))", "TIMESTAMP"
		}
		comma := ","
		if i == len(columns)-1 {
			comma = ""
		}
		parquet += "  required " + fmt.Sprintf(physical, c.Name) + ";\n"
		ddl += fmt.Sprintf("  %s %s NOT NULL OPTIONS (description = %q)%s\n", c.Name, sql, c.Doc, comma)
	}
	for name, want := range map[string]string{"optsweep_suppression.parquet.txt": parquet + "}\n", "optsweep_suppression.sql": ddl + ");\n"} {
		got, err := os.ReadFile(filepath.Join("suppression", name))
		if err != nil || string(got) != want {
			t.Errorf("%s is\n%s\nwant\n%s%v", name, got, want, err)
		}
	}
}

// Every engine has both queries; whether they run, crossread.py tells for DuckDB.
func TestQueriesOfSuppressionLists(t *testing.T) {
	for _, engine := range []string{"duckdb", "spark", "bigquery"} {
		for kind, has := range map[string]string{"active": "d.*\n", "suppressed": "d.*, s.opted_out_since\n"} {
			sql, err := os.ReadFile(filepath.Join("suppression", engine+"_"+kind+".sql"))
			if err != nil {
				t.Fatal(err)
			}
			text := string(sql)
			_, query, _ := strings.Cut(text, "\nSELECT ")
			for _, placeholder := range []string{"${DATA}", "${LIST}", "${ID_COLUMN}"} {
				if strings.Count(query, placeholder) != 1 {
					t.Errorf("%s %s: %s", engine, kind, placeholder)
				}
			}
			if !strings.HasPrefix(text, "-- ") || !strings.HasPrefix(query, has) || strings.Contains(text, ";\n") {
				t.Errorf("%s %s:\n%s", engine, kind, text)
			}
		}
	}
}
