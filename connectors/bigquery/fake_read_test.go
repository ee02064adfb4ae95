package bigquery

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"optsweep/connectors/bigquery/bqfake"
	"optsweep/schemas"
)

// bigWorld has a table of n rows with about n/2 ids.
func bigWorld(t testing.TB, n int) *world {
	w := newWorld(t)
	w.server.Change(crmName, func([]bqfake.Row) []bqfake.Row {
		var rows []bqfake.Row
		for i := range n {
			rows = append(rows, bqfake.Row{"row": int64(i), "euid": testID(1 + i/2), "part": "x"})
		}
		return append(rows, bqfake.Row{"row": int64(n)})
	})
	return w
}

// scanned are the cells of the only unit of a table.
func scanned(ctx context.Context, t *Table) (map[string]int64, error) {
	units, _, err := t.Plan(ctx)
	if err != nil {
		return nil, err
	}
	u := units[0]
	u.Run = schemas.RunRef{ID: fakeRun, StartedMS: started.UnixMilli()}
	got := map[string]int64{}
	return got, t.Scan(ctx, u, func(c schemas.Cells) error {
		for i, cell := range c.Values {
			if old := got[string(cell)]; old > 0 {
				return fmt.Errorf("a cell comes twice")
			}
			got[string(cell)] += c.Count(i)
		}
		return nil
	})
}

func readRows(c bqfake.Call) bool { return c.Method == "ReadRows" }

// Streams that break are read on from where they broke; each row comes once.
func TestBrokenStream(t *testing.T) {
	const rows = 40
	want := map[string]int64{"": 1}
	for i := range rows {
		want[testID(1+i/2)]++
	}
	for _, code := range []codes.Code{codes.Unavailable, codes.Aborted, codes.Internal, codes.ResourceExhausted} {
		for _, per := range []int{1, 3} {
			for after := range 6 {
				w := bigWorld(t, rows)
				w.server.Reading(per, 2)
				for _, nth := range []int{1, 2, 4} {
					w.server.On(readRows, nth, bqfake.Fault{Code: code, After: after})
				}
				got, err := scanned(t.Context(), w.table(fakeOptions(Column)))
				if err != nil || !maps.Equal(got, want) {
					t.Fatalf("%s after %d messages of %d rows: %v, %d cells of %d", code, after, per, err, len(got), len(want))
				}
				if n := w.server.Count(readRows); n != 5 {
					t.Errorf("%s after %d messages of %d rows: %d streams", code, after, per, n)
				}
			}
		}
	}
}

// A stream that breaks again and again without a row is given up.
func TestStreamThatNeverSendsARow(t *testing.T) {
	w := bigWorld(t, 10)
	w.server.Reading(2, 1)
	w.server.On(readRows, 0, bqfake.Fault{Code: codes.Unavailable})
	if _, err := scanned(t.Context(), w.table(fakeOptions(Column))); err == nil {
		t.Error("no error")
	}
	if n := w.server.Count(readRows); n != retries {
		t.Errorf("%d attempts, want %d", n, retries)
	}

	// One that sends some rows each time is not.
	w = bigWorld(t, 100)
	w.server.Reading(1, 1)
	for nth := range 2 * retries {
		w.server.On(readRows, nth+1, bqfake.Fault{Code: codes.Unavailable, After: 1})
	}
	if _, err := scanned(t.Context(), w.table(fakeOptions(Column))); err != nil {
		t.Error(err)
	}
}

// A read that ends early without an error is noticed.
func TestShortRead(t *testing.T) {
	for nth := 1; nth <= 2; nth++ {
		w := bigWorld(t, 20)
		w.server.Reading(2, 2)
		w.server.On(readRows, nth, bqfake.Fault{End: true, After: 1})
		_, err := scanned(t.Context(), w.table(fakeOptions(Column)))
		if schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("stream %d: %v", nth, err)
		}
	}
	for _, mode := range modes {
		w := newWorld(t)
		before := w.state(crmName)
		w.server.On(readRows, 3, bqfake.Fault{End: true}) // the first one of Apply
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: %v", mode, err)
		}
		if w.state(crmName) != before || w.effects()["load"] > 0 {
			t.Errorf("%s: something was written", mode)
		}
	}
}

// A stream that falls silent is connected anew.
func TestSilentStream(t *testing.T) {
	w := bigWorld(t, 20)
	w.server.On(readRows, 1, bqfake.Fault{Hang: true, After: 1})
	table := w.table(fakeOptions(Column))
	table.c.silence = 20 * time.Millisecond
	got, err := scanned(t.Context(), table)
	if err != nil || len(got) != 11 {
		t.Errorf("%d cells: %v", len(got), err)
	}
}

// Without the permission for the Storage Read API the rows come through REST,
// and the log says so.
func TestReadThroughREST(t *testing.T) {
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unimplemented} {
		for _, mode := range modes {
			plain := newWorld(t)
			want, err := plain.apply(fakeOptions(mode), fakeOptedOut())
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			w.server.On(bqfake.Match("CreateReadSession", ""), 0, bqfake.Fault{Code: code, Message: "No. " + testID(1)})
			got, err := w.apply(fakeOptions(mode), fakeOptedOut())
			if err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
			if got, want := figures([]schemas.Receipt{got})[0], figures([]schemas.Receipt{want})[0]; got != want {
				t.Errorf("%s: receipt %+v\nwant %+v", mode, got, want)
			}
			if w.states() != plain.states() {
				t.Errorf("%s: tables\n%s\nwant\n%s", mode, w.states(), plain.states())
			}
			if !strings.Contains(w.log.String(), "level=WARN") || !strings.Contains(w.log.String(), "roles/bigquery.readSessionUser") {
				t.Errorf("%s: the log does not say so", mode)
			}
		}
	}
	// Other errors are no reason to read slowly.
	w := newWorld(t)
	w.server.On(bqfake.Match("CreateReadSession", ""), 0, bqfake.Fault{Code: codes.InvalidArgument})
	if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err == nil || w.server.Count(bqfake.Match("tabledata.list", "")) > 0 {
		t.Errorf("error %v", err)
	}
}

// The REST fallback passes on batch after batch.
func TestManyPagesThroughREST(t *testing.T) {
	w := bigWorld(t, 9000)
	w.server.On(bqfake.Match("CreateReadSession", ""), 0, bqfake.Fault{Code: codes.PermissionDenied})
	got, err := scanned(t.Context(), w.table(fakeOptions(Column)))
	if err != nil || len(got) != 4501 {
		t.Errorf("%d cells: %v", len(got), err)
	}
}
