package bqtest_test

import (
	"errors"
	"net/http"
	"testing"

	"optsweep/connectors/bigquery/bqtest"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"
)

// Tables with the same name in several datasets are not taken for each other,
// whatever way they are read.
func TestSameNames(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	var sets []*bqtest.Dataset
	schemas := []bigquery.Schema{{{Name: "a", Type: bigquery.StringFieldType}}, {{Name: "b", Type: bigquery.StringFieldType}}, {{Name: "a", Type: bigquery.StringFieldType}}}
	for i, schema := range schemas {
		d := em.Dataset(t)
		d.Create(t, "same", schema, [][]any{{[]string{"x", "y", "z"}[i]}, {"w"}})
		sets = append(sets, d)
	}
	reading, err := em.NewReadingClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	for i, d := range sets {
		want := []string{"x", "y", "z"}[i]
		column := schemas[i][0].Name
		if got := d.Query(t, "SELECT "+column+" FROM {same} ORDER BY 1 DESC LIMIT 1")[0][0]; got != want {
			t.Errorf("query: got %s, want %s", got, want)
		}
		for name, client := range map[string]*bigquery.Client{"REST": d.Client, "Storage Read API": reading} {
			it := client.Dataset(d.ID).Table("same").Read(t.Context())
			it.PageInfo().MaxSize = 1
			var got []string
			for {
				var row []bigquery.Value
				err := it.Next(&row)
				if errors.Is(err, iterator.Done) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got = append(got, row[0].(string))
			}
			if len(got) != 2 || got[0] != want || got[1] != "w" {
				t.Errorf("%s: got %s, want %s and w", name, got, want)
			}
		}
	}
	q := sets[0].Client.Query("SELECT * FROM same")
	q.DefaultDatasetID = sets[0].ID
	_, err = q.Read(t.Context())
	wantFault(t, err, http.StatusNotImplemented, "notImplemented")
}
