package schemas

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// DatasetPlaceholder stands in SQL for the dataset of the run tables: dataset
// or project.dataset.
const DatasetPlaceholder = "${dataset}"

// InDataset puts the name of a dataset into SQL with placeholders.
func InDataset(sql, dataset string) (string, error) {
	if !regexp.MustCompile(`^([A-Za-z0-9:.-]+\.)?[A-Za-z0-9_]+$`).MatchString(dataset) {
		return "", Errorf(Usage, "%q is no dataset", dataset).WithHint("write dataset or project.dataset")
	}
	return strings.ReplaceAll(sql, DatasetPlaceholder, dataset), nil
}

// BigQuerySchema gives the columns as JSON that BigQuery takes, for example
// with: bq mk --schema.
func (t RunTable) BigQuerySchema() ([]byte, error) {
	type field struct {
		Name        string `json:"name"`
		Type        string `json:"type"`
		Mode        string `json:"mode"`
		Description string `json:"description"`
	}
	fields := make([]field, len(t.Columns))
	for i, c := range t.Columns {
		fields[i] = field{c.Name, c.Type.bigQuery(), "REQUIRED", c.Doc}
		if c.Nullable {
			fields[i].Mode = "NULLABLE"
		}
	}
	return indented(fields)
}

// BigQueryDDL gives the statement that makes the table, with a placeholder for
// the dataset; see InDataset.
func (t RunTable) BigQueryDDL() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS `%s.%s` (\n", DatasetPlaceholder, t.Name)
	for i, c := range t.Columns {
		fmt.Fprintf(&b, "  %s %s", c.Name, c.Type.googleSQL())
		if !c.Nullable {
			b.WriteString(" NOT NULL")
		}
		fmt.Fprintf(&b, " OPTIONS (description = %s)", strconv.Quote(c.Doc))
		if i < len(t.Columns)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, ")\nPARTITION BY DATE(%s)\nCLUSTER BY %s\nOPTIONS (description = %s);\n",
		t.Partition, strings.Join(t.Cluster, ", "), strconv.Quote(t.about()))
	return b.String()
}

// SQLDDL gives statements that make the table in standard SQL, as DuckDB and
// PostgreSQL take it.
func (t RunTable) SQLDDL() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (\n", t.Name)
	for i, c := range t.Columns {
		fmt.Fprintf(&b, "  %s %s", c.Name, c.Type.standardSQL())
		if !c.Nullable {
			b.WriteString(" NOT NULL")
		}
		if i < len(t.Columns)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, ");\nCOMMENT ON TABLE %s IS %s;\n", t.Name, sqlText(t.about()))
	for _, c := range t.Columns {
		fmt.Fprintf(&b, "COMMENT ON COLUMN %s.%s IS %s;\n", t.Name, c.Name, sqlText(c.Doc))
	}
	return b.String()
}

func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// ParquetSchema gives the schema of the table's Parquet files in the notation
// of Parquet.
func (t RunTable) ParquetSchema() string {
	var b strings.Builder
	fmt.Fprintf(&b, "message %s {\n", t.Name)
	for _, c := range t.Columns {
		repetition := "required"
		if c.Nullable {
			repetition = "optional"
		}
		fmt.Fprintf(&b, "  %s %s;\n", repetition, c.Type.parquet(c.Name))
	}
	b.WriteString("}\n")
	return b.String()
}

// JSONSchema describes a row as a JSON object.
func (t RunTable) JSONSchema() ([]byte, error) {
	type property struct {
		Type        any    `json:"type"`
		Format      string `json:"format,omitempty"`
		Description string `json:"description"`
	}
	properties := make(ordered, len(t.Columns))
	required := []string{}
	for i, c := range t.Columns {
		name, format := c.Type.json()
		p := property{Type: name, Format: format, Description: c.Doc}
		if c.Nullable {
			p.Type = []string{name, "null"}
		} else {
			required = append(required, c.Name)
		}
		properties[i] = member{c.Name, p}
	}
	return indented(ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", t.Name},
		{"description", t.about()},
		{"type", "object"},
		{"properties", properties},
		{"required", required},
	})
}

// about is the table's description where there is no place for its version.
func (t RunTable) about() string {
	return fmt.Sprintf("%s Rows are told apart by %s. Schema: %s, revision %d.", t.Doc, strings.Join(t.Key, ", "), t.Schema, RunTablesRevision)
}

// bigQuery is the type's name in BigQuery's API.
func (c ColumnType) bigQuery() string {
	switch c {
	case Int64Column:
		return "INTEGER"
	case Float64Column:
		return "FLOAT"
	case BoolColumn:
		return "BOOLEAN"
	case TimestampColumn:
		return "TIMESTAMP"
	default:
		return "STRING"
	}
}

// googleSQL is the type's name in statements.
func (c ColumnType) googleSQL() string { return strings.ToUpper(string(c)) }

// standardSQL is the type's name in standard SQL.
func (c ColumnType) standardSQL() string {
	switch c {
	case Int64Column:
		return "BIGINT"
	case Float64Column:
		return "DOUBLE PRECISION"
	case BoolColumn:
		return "BOOLEAN"
	case TimestampColumn:
		return "TIMESTAMP WITH TIME ZONE"
	default:
		return "TEXT"
	}
}

// parquet is a column of the type in the notation of Parquet.
func (c ColumnType) parquet(name string) string {
	switch c {
	case Int64Column:
		return "int64 " + name
	case Float64Column:
		return "double " + name
	case BoolColumn:
		return "boolean " + name
	case TimestampColumn:
		return "int64 " + name + " (TIMESTAMP(MILLIS,true))"
	default:
		return "binary " + name + " (STRING)"
	}
}

func (c ColumnType) json() (name, format string) {
	switch c {
	case Int64Column:
		return "integer", ""
	case Float64Column:
		return "number", ""
	case BoolColumn:
		return "boolean", ""
	case TimestampColumn:
		return "string", "date-time"
	default:
		return "string", ""
	}
}

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o ordered) MarshalJSON() ([]byte, error) {
	data := []byte{'{'}
	for i, m := range o {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			data = append(data, ',')
		}
		data = append(append(append(data, name...), ':'), value...)
	}
	return append(data, '}'), nil
}

func indented(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}
