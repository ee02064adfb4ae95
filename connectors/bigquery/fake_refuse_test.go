package bigquery

import (
	"strings"
	"testing"

	bq "google.golang.org/api/bigquery/v2"

	"optsweep/connectors/bigquery/bqfake"
)

// Tables that cannot be treated are refused before anything is done.
func TestRefusedTables(t *testing.T) {
	for want, column := range map[string]*bq.TableFieldSchema{
		"of type INTEGER":           bqfake.Field("euid", "INTEGER"),
		"is repeated":               {Name: "euid", Type: "STRING", Mode: "REPEATED"},
		"has the collation und:ci":  {Name: "euid", Type: "STRING", Collation: "und:ci"},
		"there is no column euid":   bqfake.Field("id", "STRING"),
		"not a nullable TIMESTAMP":  bqfake.Field("opted_out_since", "STRING"),
		"that is not a nullable TI": {Name: "opted_out_since", Type: "TIMESTAMP", Mode: "REQUIRED"},
	} {
		w := newWorld(t)
		fields := []*bq.TableFieldSchema{column}
		if column.Name == "opted_out_since" {
			fields = append(fields, bqfake.Field("euid", "STRING"))
		}
		w.server.Create(crmName, fields)
		if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if n := len(w.server.Jobs()); n > 0 {
			t.Errorf("%s: %d jobs", want, n)
		}
	}
	w := newWorld(t)
	w.server.Drop(crmName)
	if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err == nil || !strings.Contains(err.Error(), "there is no table") {
		t.Error(err)
	}
}

// What stands in the place of our own tables and views is never changed.
func TestForeignTables(t *testing.T) {
	w := newWorld(t)
	w.server.Create(listName, []*bq.TableFieldSchema{bqfake.Field("id", "STRING")})
	if _, err := w.apply(fakeOptions(Suppression), fakeOptedOut()); err == nil {
		t.Error("no error")
	}
	for _, about := range []string{"somebody else's", viewMark + " the rows of p.other.crm without a suppressed id"} {
		w = newWorld(t)
		w.server.CreateView("p.d.crm_active", "SELECT 1", about)
		if _, err := w.apply(fakeOptions(Suppression), fakeOptedOut()); err == nil || !strings.Contains(err.Error(), "not optsweep's view of that table") || w.server.View("p.d.crm_active") != "SELECT 1" {
			t.Errorf("error %v, view %s", err, w.server.View("p.d.crm_active"))
		}
	}
	w = newWorld(t)
	w.server.Create(keptName, []*bq.TableFieldSchema{bqfake.Field("row", "INTEGER")})
	if _, err := w.apply(fakeOptions(Remove), fakeOptedOut()); err == nil || !strings.Contains(err.Error(), "has no column") {
		t.Errorf("error %v", err)
	}
	if n := len(w.server.Rows(crmName)); n != len(crmFakeRows()) {
		t.Errorf("%d rows are left", n)
	}
}
