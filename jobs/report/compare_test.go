package report

import (
	"strings"
	"testing"

	"optsweep/schemas"
)

func TestCompare(t *testing.T) {
	rep := schemas.Report{
		Schema: schemas.ReportSchema, Run: "r", Resumed: 2,
		Tables: []schemas.TableReport{{Status: "reconciled"}, {Status: "partial"}},
		Laws:   []schemas.Law{{Name: "a", OK: true}, {Name: "b", OK: true}},
		Notes:  []string{"x", "y"},
	}
	whole, err := Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		changed := strings.Replace(string(whole), old, new, 1)
		if changed == string(whole) {
			t.Fatalf("%q is not in the report", old)
		}
		return changed
	}
	for name, c := range map[string]struct {
		stored       string
		exact, other string // where they differ, for a report of this version and of another; empty for nowhere
	}{
		"the same":          {string(whole), "", ""},
		"figure":            {edit(`"resumed": 2`, `"resumed": 3`), ".resumed", ".resumed"},
		"figure left out":   {edit(`  "resumed": 2,`+"\n", ""), ".resumed", ""},
		"figure too many":   {edit(`"resumed": 2`, `"resumed": 2, "x": 1`), ".x", ".x"},
		"other type":        {edit(`"resumed": 2`, `"resumed": "2"`), ".resumed", ".resumed"},
		"object for list":   {edit(`"failures": null`, `"failures": {}`), ".failures", ".failures"},
		"in a list":         {edit(`"status": "partial"`, `"status": "reconciled"`), ".tables[1].status", ".tables[1].status"},
		"note left out":     {edit(`"x",`, ""), ".notes", ""},
		"note changed":      {edit(`"x"`, `"z"`), ".notes[0]", ".notes[0]"},
		"law broken":        {edit(`"ok": true`, `"ok": false`), ".laws[0].ok", ".laws[0]"},
		"other white space": {string(whole) + " ", "its bytes are not", ""},
		"cut off":           {string(whole[:len(whole)/2]), "not a report", "not a report"},
		"two":               {string(whole) + string(whole), "not a report", "not a report"},
		"nothing":           {"null", ".schema is missing", ".schema is missing"},
		"all left out":      {"{}", ".schema is missing", ".schema is missing"},
		"tables left out":   {edit(`  "tables":`, `  "sables":`), ".tables is missing", ".tables is missing"},
	} {
		for _, x := range []struct {
			exact bool
			want  string
		}{{true, c.exact}, {false, c.other}} {
			err := Compare([]byte(c.stored), rep, x.exact)
			switch {
			case x.want == "" && err != nil:
				t.Errorf("%s, exact %v: %v", name, x.exact, err)
			case x.want != "" && (schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(err.Error(), x.want)):
				t.Errorf("%s, exact %v: got %v, want %q", name, x.exact, err, x.want)
			}
		}
	}
}

func TestRunThatHasNotEnded(t *testing.T) {
	started := schemas.Event{Seq: 1, Run: "r", Type: schemas.EventRunStarted, Data: []byte(`{"job":"j"}`)}
	started.Time = started.Time.AddDate(2026, 0, 0)
	stopped := schemas.Event{Seq: 2, Run: "r", Type: schemas.EventRunInterrupted, Data: []byte(`{"status":"stopped"}`)}
	for name, c := range map[string]struct {
		events []schemas.Event
		want   string
	}{
		"under way": {[]schemas.Event{started}, schemas.StatusInterrupted},
		"stopped":   {[]schemas.Event{started, stopped}, schemas.StatusStopped},
	} {
		if rep, err := Of("r", c.events, false); err != nil || rep.Status != c.want {
			t.Errorf("%s: %s, %v", name, rep.Status, err)
		}
	}
}
