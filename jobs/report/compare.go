package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"optsweep/schemas"
)

// Compare tells where a stored report.json differs from the report that its
// run's events give, or returns nil. exact is for a report that this very
// version of optsweep wrote. One of another version may lack figures that this
// one adds, and laws and notes with them, but what it has must be the same.
func Compare(stored []byte, rebuilt schemas.Report, exact bool) error {
	want, err := Marshal(rebuilt)
	if err != nil {
		return err
	}
	if bytes.Equal(stored, want) {
		return nil
	}
	a, err := generic(stored)
	if err != nil {
		return schemas.Errorf(schemas.Integrity, "it is not a report")
	}
	b, err := generic(want)
	if err != nil {
		return err
	}
	for _, key := range always() {
		if _, ok := a[key]; !ok {
			return schemas.Errorf(schemas.Integrity, ".%s is missing", key)
		}
	}
	if where := differs("", a, b, exact); where != "" {
		return schemas.Errorf(schemas.Integrity, "%s is not what the ledger gives", where)
	}
	if exact {
		return schemas.Errorf(schemas.Integrity, "its figures are those of the ledger, but its bytes are not those that were written")
	}
	return nil
}

// always are the parts that reports of every version have.
func always() []string {
	return []string{"schema", "run", "status", "dry_run", "started_at", "finished_at", "ids", "tables", "failures", "laws"}
}

func generic(data []byte) (v map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}

// differs gives the path of the first difference, or nothing.
func differs(path string, a, b any, exact bool) string {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return path
		}
		for _, key := range sortedKeys(a, b) {
			_, inA := a[key]
			_, inB := b[key]
			if !inB || !inA && exact {
				return path + "." + key
			}
			if !inA {
				continue
			}
			if where := differs(path+"."+key, a[key], b[key], exact); where != "" {
				return where
			}
		}
	case []any:
		b, ok := b.([]any)
		if !ok {
			return path
		}
		if !exact && (path == ".laws" || path == ".notes") {
			for i := range a {
				if !slices.ContainsFunc(b, func(x any) bool { return differs(path, a[i], x, exact) == "" }) {
					return fmt.Sprintf("%s[%d]", path, i)
				}
			}
			return ""
		}
		if len(a) != len(b) {
			return path
		}
		for i := range a {
			if where := differs(fmt.Sprintf("%s[%d]", path, i), a[i], b[i], exact); where != "" {
				return where
			}
		}
	default:
		if a != b {
			return path
		}
	}
	return ""
}

func sortedKeys(a, b map[string]any) []string {
	keys := make([]string, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
