// Package engines keeps the copies of the schema up to date that engines put
// into a file's application metadata. A copy that does not know the new column
// hides it (Spark), makes the file unreadable (arrow-rs, parquet-avro) or is
// read out of bounds (arrow C++). Everything else in a copy stays as it is.
package engines

import (
	"encoding/json"
	"fmt"
	"strings"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// Keys of application metadata.
const (
	arrowKey    = "ARROW:schema"
	sparkKey    = "org.apache.spark.sql.parquet.row.metadata"
	avroKey     = "parquet.avro.schema"
	oldAvroKey  = "avro.schema"
	icebergKey  = "iceberg.schema"
	hudiKey     = "hoodie_"
	hudiKeyLong = "org.apache.hudi."
)

// AddColumn returns new values for the entries of the application metadata
// that describe the schema, with a nullable column name as the last field. It refuses metadata that cannot be kept right.
func AddColumn(metadata map[string]string, name string, typ footer.FlagType) (map[string]string, error) {
	edits := map[string]string{}
	for key, element := range map[string]string{sparkKey: sparkField(name, typ), avroKey: avroField(name, typ), oldAvroKey: avroField(name, typ)} {
		old, ok := metadata[key]
		if !ok {
			continue
		}
		value, err := appendField(old, element)
		if err != nil {
			return nil, refuse(key, err)
		}
		edits[key] = value
	}
	if old, ok := metadata[arrowKey]; ok {
		value, err := appendArrowField(old, name, typ)
		if err != nil {
			return nil, refuse(arrowKey, err)
		}
		edits[arrowKey] = value
	}
	return edits, nil
}

func refuse(key string, err error) error {
	return schemas.Errorf(schemas.Failed, "the metadata entry %s %w", key, err).
		WithHint("write the file anew without the entry, or leave it out of the path")
}

// Lake names the table format whose writer made the file, going by its
// application metadata; it is empty if there is none. Such a table keeps the
// size of each file in a manifest.
func Lake(metadata map[string]string) string {
	for key := range metadata {
		switch {
		case key == icebergKey:
			return "Iceberg"
		case strings.HasPrefix(key, hudiKey), strings.HasPrefix(key, hudiKeyLong):
			return "Hudi"
		}
	}
	return ""
}

func quote(name string) string {
	b, _ := json.Marshal(name) // a string always marshals
	return string(b)
}

// sparkField is a field of Spark's StructType in JSON.
func sparkField(name string, typ footer.FlagType) string {
	as := "timestamp"
	if typ == footer.Integer {
		as = "long"
	}
	return `{"name":` + quote(name) + `,"type":"` + as + `","nullable":true,"metadata":{}}`
}

// avroField is a field of an Avro record.
func avroField(name string, typ footer.FlagType) string {
	as := `{"type":"long","logicalType":"timestamp-millis"}`
	if typ == footer.Integer {
		as = `"long"`
	}
	return `{"name":` + quote(name) + `,"type":["null",` + as + `],"default":null}`
}

// appendField appends element to the array "fields" of a JSON object and
// leaves all other bytes alone.
func appendField(object, element string) (string, error) {
	d := json.NewDecoder(strings.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", fmt.Errorf("is no JSON object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", fmt.Errorf("is damaged JSON")
		}
		if key != "fields" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return "", fmt.Errorf("is damaged JSON")
			}
			continue
		}
		var fields []json.RawMessage
		if err := d.Decode(&fields); err != nil {
			return "", fmt.Errorf("has no list of fields")
		}
		end := d.InputOffset() - 1 // of the closing bracket
		if len(fields) > 0 {
			element = "," + element
		}
		return object[:end] + element + object[end:], nil
	}
	return "", fmt.Errorf("has no list of fields")
}
