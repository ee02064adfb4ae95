package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/file"
	"golang.org/x/sync/errgroup"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const startedMS = 1_750_000_000_000

// suppressor is a table in mode suppression.
func suppressor(t testing.TB, path, list string, disk durable.Disk) *parquet.Table {
	t.Helper()
	tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: "euid", Scope: schemas.EUID, Mode: parquet.Suppression, List: list, Disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// pass treats all units of a table as a run does; workers > 1: in any order.
// done holds the receipts of an earlier attempt, whose units are left out.
func pass(tab *parquet.Table, units []schemas.Unit, since parquet.Since, workers int, done map[string]schemas.Receipt) error {
	if err := tab.RemoveLeftovers(units); err != nil {
		return err
	}
	var mu sync.Mutex
	tasks := errgroup.Group{}
	tasks.SetLimit(workers)
	for _, u := range units {
		mu.Lock()
		_, ok := done[u.Name]
		mu.Unlock()
		if ok {
			continue
		}
		tasks.Go(func() error {
			r, err := tab.Apply(context.Background(), u, since, nothing)
			if err == nil {
				mu.Lock()
				done[u.Name] = r
				mu.Unlock()
			}
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	return tab.Finish(context.Background())
}

func mustPass(t testing.TB, tab *parquet.Table, run string, since parquet.Since) map[string]schemas.Receipt {
	t.Helper()
	done := map[string]schemas.Receipt{}
	if err := pass(tab, planRun(t, tab, run), since, 1, done); err != nil {
		t.Fatal(err)
	}
	return done
}

// listed reads a list with arrow: its rows as text, by id.
func listed(t testing.TB, path string) (ids []string, rows map[string]string) {
	t.Helper()
	names, texts := columnTexts(t, path)
	var want []string
	for _, c := range schemas.SuppressionListColumns() {
		want = append(want, c.Name)
	}
	if !slices.Equal(names, want) {
		t.Fatalf("columns %v, want %v", names, want)
	}
	rows = map[string]string{}
	for _, row := range texts {
		id := strings.Trim(row[0], `"`)
		ids = append(ids, id)
		rows[id] = strings.Join(row[1:], " ")
	}
	if !slices.IsSorted(ids) || len(rows) != len(ids) {
		t.Fatalf("not sorted, or not distinct: %v", ids)
	}
	return ids, rows
}

func sum(receipts map[string]schemas.Receipt) (s schemas.Receipt) {
	for _, r := range receipts {
		s.Rows += r.Rows
		s.Nulls += r.Nulls
		s.OptedOut += r.OptedOut
		s.Flagged += r.Flagged
		s.NewlyFlagged += r.NewlyFlagged
		s.MovedEarlier += r.MovedEarlier
		s.Kept += r.Kept
		s.Cleared += r.Cleared
		s.Confirmed += r.Confirmed
		s.Changed = s.Changed || r.Changed
	}
	return s
}

// data writes files of a shape each, and returns their folder.
func data(t testing.TB, shapes ...shape) string {
	t.Helper()
	dir := t.TempDir()
	for i, s := range shapes {
		s.write(t, filepath.Join(dir, fmt.Sprintf("%03d.parquet", i)))
	}
	return dir
}

func TestListHoldsEveryIDOnceAndStaysAsItIs(t *testing.T) {
	dir := data(t, shape{groups: []int{200, 200}, distinct: 390, nulls: 7}, shape{groups: []int{100}, distinct: 300})
	before := folder(t, dir)
	list := filepath.Join(t.TempDir(), "new", "list.parquet")
	tab := suppressor(t, filepath.Join(dir, "*.parquet"), list, durable.Disk{})
	want := map[string]bool{}
	var rows int64
	for _, u := range plan(t, tab) {
		for _, cell := range cells(t, tab, u) {
			if _, out := rule(cell); out {
				want[string(cell)] = true
				rows++
			}
		}
	}
	preview := map[string]schemas.Receipt{}
	for _, u := range planRun(t, tab, "run-1") {
		r, err := tab.Preview(context.Background(), u, rule)
		if err != nil {
			t.Fatal(err)
		}
		preview[u.Name] = r
	}
	done := mustPass(t, tab, "run-1", rule)
	if !maps.Equal(done, preview) {
		t.Errorf("preview %+v\napply   %+v", preview, done)
	}
	s := sum(done)
	if s.Rows != 500 || s.OptedOut != rows || s.Flagged != rows || s.NewlyFlagged != rows || s.Confirmed != rows || s.Nulls == 0 || !s.Changed {
		t.Errorf("%d rows of %d ids: %+v", rows, len(want), s)
	}
	ids, all := listed(t, list)
	if len(ids) != len(want) || len(ids) < 5 {
		t.Fatalf("%d ids, want %d", len(ids), len(want))
	}
	for id, row := range all {
		ms, _ := rule([]byte(id))
		if !want[id] || row != fmt.Sprintf(`"euid" %d %d %d "run-1"`, ms, startedMS, startedMS) {
			t.Errorf("a row is %s", row)
		}
	}
	if info, err := os.Stat(list); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if !maps.Equal(folder(t, dir), before) || len(folder(t, filepath.Dir(list))) != 1 {
		t.Error("a data file was changed, or something is left beside the list")
	}

	// The same again: not a byte changes. Whoever may read the list may do so
	// after a change, too.
	if err := os.Chmod(list, 0o644); err != nil {
		t.Fatal(err)
	}
	bytesBefore := read(t, list)
	s = sum(mustPass(t, tab, "run-2", rule))
	if s.Changed || s.Flagged != rows || s.NewlyFlagged != 0 || !bytes.Equal(read(t, list), bytesBefore) {
		t.Errorf("second run: %+v", s)
	}
	// An earlier time moves, a later one does not, nobody leaves.
	earlier := func(cell []byte) (int64, bool) {
		ms, out := rule(cell)
		switch {
		case string(cell) == ids[0]:
			return ms - 5, out
		case string(cell) == ids[1]:
			return ms + 5, out
		}
		return ms, out && string(cell) != ids[2]
	}
	s = sum(mustPass(t, suppressor(t, filepath.Join(dir, "*.parquet"), list, durable.Disk{}), "run-3", earlier))
	if !s.Changed || s.NewlyFlagged != 0 || s.MovedEarlier == 0 || s.Kept == 0 || s.Flagged != rows {
		t.Errorf("third run: %+v", s)
	}
	_, now := listed(t, list)
	ms, _ := rule([]byte(ids[0]))
	if now[ids[0]] != fmt.Sprintf(`"euid" %d %d %d "run-3"`, ms-5, startedMS, startedMS) {
		t.Errorf("moved: %s", now[ids[0]])
	}
	delete(all, ids[0])
	delete(now, ids[0])
	if !maps.Equal(now, all) {
		t.Error("another row has changed")
	}
	if info, err := os.Stat(list); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	r, err := file.OpenParquetFile(list, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.MetaData().Schema.String(); got != listSchemaText {
		t.Errorf("schema\n%s\nwant\n%s", got, listSchemaText)
	}
}

const listSchemaText = `required group field_id=-1 optsweep_suppression {
  required byte_array field_id=-1 id (String);
  required byte_array field_id=-1 scope (String);
  required int64 field_id=-1 opted_out_since (Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds, is_from_converted_type=false, force_set_converted_type=false));
  required int64 field_id=-1 first_flagged_at (Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds, is_from_converted_type=false, force_set_converted_type=false));
  required int64 field_id=-1 last_checked_at (Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds, is_from_converted_type=false, force_set_converted_type=false));
  required byte_array field_id=-1 run_id (String);
}
`

// Without anybody opted out there is an empty list, so that queries work.
func TestEmptyListIsMade(t *testing.T) {
	dir := data(t, shape{groups: []int{20}, distinct: 9})
	list := filepath.Join(t.TempDir(), "list.parquet")
	mustPass(t, suppressor(t, filepath.Join(dir, "*.parquet"), list, durable.Disk{}), "r", nobody)
	if ids, _ := listed(t, list); len(ids) != 0 {
		t.Errorf("%d ids", len(ids))
	}
}

// Many small files, several workers: the bytes are those of one worker, and so
// are the receipts.
func TestOrderOfUnitsMakesNoDifference(t *testing.T) {
	var shapes []shape
	for i := range 60 {
		shapes = append(shapes, shape{groups: []int{12}, distinct: 5 + i})
	}
	path := filepath.Join(data(t, shapes...), "*.parquet")
	var want []byte
	var receipts map[string]schemas.Receipt
	for _, workers := range []int{1, 8, 8} {
		list := filepath.Join(t.TempDir(), "list.parquet")
		tab := suppressor(t, path, list, durable.Disk{})
		done := map[string]schemas.Receipt{}
		if err := pass(tab, planRun(t, tab, "r"), rule, workers, done); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want, receipts = read(t, list), done
		}
		if !bytes.Equal(read(t, list), want) || !maps.Equal(done, receipts) {
			t.Fatalf("%d workers give something else", workers)
		}
	}
}

// Every durable step fails in turn, before and after it took place. Then another
// process takes the run up, with the receipts that are on record: list and
// receipts are those of an undisturbed run, and before that the list was the old
// one or the new one, whole.
func TestListFaults(t *testing.T) {
	fault := errors.New("fault")
	dir := data(t, shape{groups: []int{40}, distinct: 60, nulls: 9}, shape{groups: []int{30}, distinct: 70}, shape{groups: []int{25}, distinct: 80})
	path := filepath.Join(dir, "*.parquet")
	first := filepath.Join(t.TempDir(), "list.parquet")
	some := func(cell []byte) (int64, bool) {
		ms, out := rule(cell)
		return ms + 1, out && cell[0] != 'B'
	}
	mustPass(t, suppressor(t, path, first, durable.Disk{}), "run-1", some)
	old := read(t, first)
	goal := filepath.Join(t.TempDir(), "list.parquet")
	put(t, goal, old)
	receipts := mustPass(t, suppressor(t, path, goal, durable.Disk{}), "run-2", rule)
	want := read(t, goal)
	if s := sum(receipts); s.NewlyFlagged == 0 || s.MovedEarlier == 0 || bytes.Equal(old, want) {
		t.Fatalf("%+v", s)
	}
	for _, stored := range []bool{false, true} {
		for n := 1; ; n++ {
			list := filepath.Join(t.TempDir(), "list.parquet")
			put(t, list, old)
			count, failed := 0, durable.Step("")
			tab := suppressor(t, path, list, durable.Disk{Fault: func(step durable.Step, _ string) (bool, error) {
				if count++; count == n {
					failed = step
					return stored, fault
				}
				return false, nil
			}})
			units := planRun(t, tab, "run-2")
			done := map[string]schemas.Receipt{}
			err := pass(tab, units, rule, 1, done)
			if failed == "" { // there is no n-th step
				if err != nil || n < 18 {
					t.Fatalf("%d steps, %v", n-1, err)
				}
				break
			}
			name := fmt.Sprintf("step %d (%s, stored %v)", n, failed, stored)
			if !errors.Is(err, fault) {
				t.Fatalf("%s: %v", name, err)
			}
			if got := read(t, list); !bytes.Equal(got, old) && !bytes.Equal(got, want) {
				t.Fatalf("%s: the list is neither the old nor the new one", name)
			}
			next := suppressor(t, path, list, durable.Disk{})
			for _, u := range units {
				if v, err := next.Version(context.Background(), u); err != nil || v != u.Version {
					t.Fatalf("%s: the run would not be taken up: %s, %v", name, v, err)
				}
			}
			if err := pass(next, units, rule, 1, done); err != nil {
				t.Fatalf("%s: second try: %v", name, err)
			}
			if !bytes.Equal(read(t, list), want) || !maps.Equal(done, receipts) {
				t.Fatalf("%s: the second try gives something else", name)
			}
			if left := folder(t, filepath.Dir(list)); len(left) != 1 {
				t.Fatalf("%s: left %v", name, slices.Collect(maps.Keys(left)))
			}
		}
	}
}

// What a killed process wrote only in part does not count.
func TestTornLineOfWhatIsPending(t *testing.T) {
	path := filepath.Join(data(t, shape{groups: []int{40}, distinct: 60}, shape{groups: []int{40}, distinct: 90}), "*.parquet")
	goal := filepath.Join(t.TempDir(), "list.parquet")
	receipts := mustPass(t, suppressor(t, path, goal, durable.Disk{}), "run", rule)
	list := filepath.Join(t.TempDir(), "list.parquet")
	pending := filepath.Join(filepath.Dir(list), ".list.parquet.pending")
	tab := suppressor(t, path, list, durable.Disk{})
	units := planRun(t, tab, "run")
	if err := tab.RemoveLeftovers(units); err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if _, err := tab.Apply(context.Background(), u, rule, nothing); err != nil {
			t.Fatal(err)
		}
	}
	whole := read(t, pending)
	for cut := 0; cut <= len(whole); cut += 1 + len(whole)/150 {
		put(t, pending, whole[:cut])
		// A unit whose line is whole may be on record, and only such a one.
		done := map[string]schemas.Receipt{}
		for i, line := range bytes.SplitAfter(whole[:cut], []byte("\n")) {
			if i > 0 && i <= len(units) && bytes.HasSuffix(line, []byte("\n")) {
				done[units[i-1].Name] = receipts[units[i-1].Name]
			}
		}
		if err := os.RemoveAll(list); err != nil {
			t.Fatal(err)
		}
		if err := pass(suppressor(t, path, list, durable.Disk{}), units, rule, 1, done); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if !bytes.Equal(read(t, list), read(t, goal)) || !maps.Equal(done, receipts) {
			t.Fatalf("cut at %d: something else", cut)
		}
	}
}

// What a run that was given up has collected is not in the next run's list; an
// id that is really opted out is found again.
func TestAnotherRunBeginsAnew(t *testing.T) {
	path := filepath.Join(data(t, shape{groups: []int{40}, distinct: 60}), "*.parquet")
	list := filepath.Join(t.TempDir(), "list.parquet")
	tab := suppressor(t, path, list, durable.Disk{})
	units := planRun(t, tab, "run-1")
	if err := tab.RemoveLeftovers(units); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Apply(context.Background(), units[0], rule, nothing); err != nil {
		t.Fatal(err)
	}
	mustPass(t, suppressor(t, path, list, durable.Disk{}), "run-2", nobody)
	if ids, _ := listed(t, list); len(ids) != 0 {
		t.Errorf("%d ids of another run", len(ids))
	}
}

// If the list is exchanged under a run, what was counted no longer holds: the run
// notices, and cannot be taken up.
func TestListReplacedDuringARun(t *testing.T) {
	path := filepath.Join(data(t, shape{groups: []int{40}, distinct: 60}, shape{groups: []int{40}, distinct: 90}), "*.parquet")
	list := filepath.Join(t.TempDir(), "list.parquet")
	mustPass(t, suppressor(t, path, list, durable.Disk{}), "run-1", rule)
	tab := suppressor(t, path, list, durable.Disk{})
	units := planRun(t, tab, "run-2")
	if err := tab.RemoveLeftovers(units); err != nil {
		t.Fatal(err)
	}
	if r, err := tab.Apply(context.Background(), units[0], rule, nothing); err != nil || r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Apply(context.Background(), units[1], rule, nothing); err == nil || !strings.Contains(err.Error(), "was changed by another program") {
		t.Errorf("apply: %v", err)
	}
	if err := tab.Finish(context.Background()); err == nil || !strings.Contains(err.Error(), "was changed by another program") {
		t.Errorf("finish: %v", err)
	}
	next := suppressor(t, path, list, durable.Disk{})
	if v, err := next.Version(context.Background(), units[0]); err != nil || v == units[0].Version {
		t.Errorf("version %s, %v", v, err)
	}
	if err := next.RemoveLeftovers(units); err == nil {
		t.Error("the run was taken up")
	}
	// A new run makes the list anew.
	if s := sum(mustPass(t, suppressor(t, path, list, durable.Disk{}), "run-3", rule)); s.NewlyFlagged != s.OptedOut || s.OptedOut == 0 {
		t.Errorf("%+v", s)
	}
}

// Two workspaces with one list: the run that comes second takes over, the first
// does not claim to be done.
func TestListOfTwoRunsAtATime(t *testing.T) {
	path := filepath.Join(data(t, shape{groups: []int{40}, distinct: 60}), "*.parquet")
	list := filepath.Join(t.TempDir(), "list.parquet")
	first, second := suppressor(t, path, list, durable.Disk{}), suppressor(t, path, list, durable.Disk{})
	units := planRun(t, first, "run-1")
	if err := first.RemoveLeftovers(units); err != nil {
		t.Fatal(err)
	}
	if err := second.RemoveLeftovers(planRun(t, second, "run-2")); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Apply(context.Background(), units[0], rule, nothing); err != nil {
		t.Fatal(err)
	}
	if err := first.Finish(context.Background()); err == nil || !strings.Contains(err.Error(), "was changed by another program") {
		t.Error(err)
	}
	if _, err := os.Stat(list); err == nil {
		t.Error("there is a list")
	}
}

// Nothing but a list of the same table is ever replaced.
func TestForeignFileInThePlaceOfTheList(t *testing.T) {
	dir := data(t, shape{groups: []int{40}, distinct: 60})
	path := filepath.Join(dir, "*.parquet")
	other := filepath.Join(t.TempDir(), "list.parquet")
	o := parquet.Options{Table: "another", Path: path, IDColumn: "euid", Mode: parquet.Suppression, List: other}
	tab, err := parquet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, tab, "r", rule)
	contents := map[string][]byte{"text": []byte("some text"), "parquet": read(t, filepath.Join(dir, "000.parquet")), "empty": {}, "of another table": read(t, other)}
	for name, content := range contents {
		list := filepath.Join(t.TempDir(), "list.parquet")
		put(t, list, content)
		tab := suppressor(t, path, list, durable.Disk{})
		err := pass(tab, planRun(t, tab, "r"), rule, 1, map[string]schemas.Receipt{})
		if err == nil || !strings.Contains(err.Error(), "is no suppression list of this table") || schemas.HintOf(err) == "" || !bytes.Equal(read(t, list), content) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tab.Preview(context.Background(), plan(t, tab)[0], rule); err == nil {
			t.Errorf("%s: previewed", name)
		}
	}
	// Nor is it taken for data.
	in := suppressor(t, path, filepath.Join(dir, "list.parquet"), durable.Disk{})
	put(t, filepath.Join(dir, "list.parquet"), contents["of another table"])
	if _, _, err := in.Plan(context.Background()); schemas.ClassOf(err) != schemas.Usage || !strings.Contains(schemas.HintOf(err), "write.path") {
		t.Errorf("%v", err)
	}
}

// The gate sees rows whose id is not on the list, and an unflag takes one id off
// it, in any attempt.
func TestFindAndClearGoByTheList(t *testing.T) {
	path := filepath.Join(data(t, shape{groups: []int{300}, distinct: 200}, shape{groups: []int{200}, distinct: 200}), "*.parquet")
	list := filepath.Join(t.TempDir(), "list.parquet")
	tab := suppressor(t, path, list, durable.Disk{})
	find := func() (missing, flagged int64) {
		for _, u := range plan(t, tab) {
			seen := int64(0)
			r, err := tab.Find(context.Background(), u, rule, func(int64, []byte) { seen++ })
			if err != nil || seen != r.NewlyFlagged+r.MovedEarlier {
				t.Fatalf("%+v, %v, %d", r, err, seen)
			}
			missing, flagged = missing+r.NewlyFlagged, flagged+r.Flagged
		}
		return missing, flagged
	}
	if missing, flagged := find(); missing == 0 || missing != flagged {
		t.Errorf("before: %d of %d", missing, flagged)
	}
	mustPass(t, tab, "r", rule)
	if missing, flagged := find(); missing != 0 || flagged == 0 {
		t.Errorf("after: %d of %d", missing, flagged)
	}
	ids, _ := listed(t, list)
	match := func(cell []byte) bool { return string(cell) == ids[3] }
	clearAll := func(tab *parquet.Table) map[string]schemas.Receipt {
		units := plan(t, tab)
		if err := tab.RemoveLeftovers(units); err != nil {
			t.Fatal(err)
		}
		done := map[string]schemas.Receipt{}
		for _, u := range units {
			r, err := tab.Clear(context.Background(), u, match, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			done[u.Name] = r
		}
		return done
	}
	first := clearAll(tab) // is killed here
	next := suppressor(t, path, list, durable.Disk{})
	if second := clearAll(next); !maps.Equal(first, second) || sum(second).Cleared == 0 || sum(second).Kept != sum(second).Flagged {
		t.Errorf("%+v, %+v", first, second)
	}
	if err := next.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	now, _ := listed(t, list)
	if want := slices.Delete(slices.Clone(ids), 3, 4); !slices.Equal(now, want) {
		t.Errorf("%d ids, want %d", len(now), len(want))
	}
	if s := sum(clearAll(next)); s.Changed || s.Cleared != 0 {
		t.Errorf("again: %+v", s)
	}
	if missing, _ := find(); missing == 0 {
		t.Error("the gate does not miss the id")
	}
}

func TestListModeNeedsAFile(t *testing.T) {
	if _, err := parquet.New(parquet.Options{Path: "x", IDColumn: "euid", Mode: parquet.Suppression}); schemas.ClassOf(err) != schemas.Usage {
		t.Error(err)
	}
	path := filepath.Join(data(t, shape{groups: []int{4}, distinct: 9}), "*.parquet")
	tab := suppressor(t, path, filepath.Join(t.TempDir(), "l"), durable.Disk{})
	if _, err := tab.Apply(context.Background(), plan(t, tab)[0], rule, nothing); err == nil {
		t.Error("applied before RemoveLeftovers")
	}
	if err := tab.Finish(context.Background()); err != nil {
		t.Error(err)
	}
}

// With OPTSWEEP_CROSSREAD_OUT set, the lists are kept there for crossread.py, as
// list-NAME.
func TestListOfAnyWriterFixtures(t *testing.T) {
	out := os.Getenv("OPTSWEEP_CROSSREAD_OUT")
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			before := read(t, path)
			list := filepath.Join(t.TempDir(), "list.parquet")
			tab := suppressor(t, path, list, durable.Disk{})
			want := map[string]bool{}
			for _, cell := range cells(t, tab, plan(t, tab)[0]) {
				if _, hit := rule(cell); hit {
					want[string(cell)] = true
				}
			}
			mustPass(t, tab, "r", rule)
			ids, _ := listed(t, list)
			if len(ids) != len(want) || !bytes.Equal(read(t, path), before) {
				t.Errorf("%d ids, want %d", len(ids), len(want))
			}
			if out != "" {
				put(t, filepath.Join(out, "list-"+filepath.Base(path)), read(t, list))
			}
		})
	}
}
