package evidence

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"optsweep/schemas"
)

// schemaFiles describe the JSON of a pack's files, by name.
func schemaFiles() []struct {
	name, title string
	of          any
} {
	return []struct {
		name, title string
		of          any
	}{
		{"schema/batch.json", "one line of batches.ndjson", schemas.EvidenceBatch{}},
		{"schema/ledger.json", "the event in one line of ledger.ndjson; data depends on type", schemas.Event{}},
		{"schema/manifest.json", "manifest.json", schemas.EvidenceManifest{}},
		{"schema/receipt.json", "one line of receipts.ndjson", schemas.Receipt{}},
		{"schema/report.json", "report.json", schemas.Report{}},
	}
}

// describe gives the JSON Schema of what encoding/json makes of v.
func describe(title string, v any) ([]byte, error) {
	s := shape(reflect.TypeOf(v))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = title
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}

func shape(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem())
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		fields(t, properties, &required)
		return map[string]any{"type": "object", "properties": properties, "required": required}
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": shape(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": shape(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	default:
		return map[string]any{"type": "integer"}
	}
}

// fields describes the fields of a struct, those of embedded ones included.
func fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fields(f.Type, properties, required)
			continue
		}
		properties[name] = shape(f.Type)
		if !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
}
