package config

import (
	"strings"
	"testing"
)

func TestWriteModesOfParquet(t *testing.T) {
	const from = "    write: {mode: column, column: flagged}\n"
	for name, c := range map[string]struct {
		write string
		want  Write
	}{
		"nothing":           {"", Write{Mode: Column, Column: DefaultColumn}},
		"list":              {"mode: suppression", Write{Mode: Suppression, Path: "/jobs/ws/suppressed/crm.parquet"}},
		"list elsewhere":    {"mode: suppression, path: lists/crm.parquet", Write{Mode: Suppression, Path: "/jobs/here/lists/crm.parquet"}},
		"removed":           {"mode: remove", Write{Mode: Remove, Path: "/jobs/ws/removed/crm"}},
		"removed elsewhere": {"mode: remove, keep: true, path: /srv/gone", Write{Mode: Remove, Path: "/srv/gone"}},
		"dropped":           {"mode: remove, keep: false", Write{Mode: Remove, Drop: true}},
	} {
		got, err := Parse("f", []byte(strings.Replace(good, from, "    write: {"+c.write+"}\n", 1)), "/jobs/here")
		if name == "nothing" {
			got, err = Parse("f", []byte(strings.Replace(good, from, "", 1)), "/jobs/here")
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.Tables[0].Write != c.want {
			t.Errorf("%s: %+v, want %+v", name, got.Tables[0].Write, c.want)
		}
	}
}
