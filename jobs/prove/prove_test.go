package prove

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

func cell(n int) []byte { return testID(n).AppendText(nil) }

// fill puts ids 0 to 199 into two units.
func (w *world) fill() {
	var a, b [][]byte
	for n := range 200 {
		if n%2 == 0 {
			a = append(a, cell(n))
		} else {
			b = append(b, cell(n))
		}
	}
	w.table.put("a", append(a, nil, cell(1), append(cell(1), ' '))...)
	w.table.put("b", b...)
}

// answers of all runs about an id, as "answer" or "answer?" if not proven.
func answers(p schemas.Proof) string {
	var all []string
	for _, r := range p.Runs {
		text := r.Answer
		if !r.Proven {
			text += "?"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestEveryAnswerIsFoundAndProven(t *testing.T) {
	w := newWorld(t)
	w.fill()
	for n := 0; n < 200; n += 3 {
		w.operator.optedOut[testID(n)] = int64(1_600_000_000_000 + n)
	}
	w.operator.reject[testID(1)] = schemas.OperatorRejected
	first := w.run(false)
	second := w.run(false) // those opted out are known now
	w.operator.optedOut[testID(2)] = 1_650_000_000_000
	third := w.run(false)
	for n := range 200 {
		p := w.prove(testID(n))
		want := "clear clear clear"
		switch {
		case n == 1:
			want = "unverifiable unverifiable unverifiable"
		case n == 2:
			want = "clear clear opted_out"
		case n%3 == 0:
			want = "opted_out known known"
		}
		if got := answers(p); got != want {
			t.Fatalf("id %d: %s, want %s", n, got, want)
		}
		if listed := p.Listing != nil; listed != (n%3 == 0 || n == 2) || !p.Seen || len(p.Gaps) > 0 {
			t.Fatalf("id %d: listed %v, seen %v, gaps %q", n, listed, p.Seen, p.Gaps)
		}
	}

	p := w.prove(testID(2))
	if l := p.Listing; l.SinceMS != 1_650_000_000_000 || l.Run != third || l.FoundMS != p.Runs[2].AsOfMS {
		t.Errorf("listing %+v", l)
	}
	if u := p.Units; len(u) != 1 || u[0].Unit != "a" || u[0].Count != 1 || u[0].Rows[0] != 1 || u[0].FlaggedBy == nil || u[0].FlaggedBy.Run != third {
		t.Errorf("units %+v", u)
	}
	p = w.prove(testID(3))
	if l := p.Listing; l.Run != first || p.Units[0].FlaggedBy.Run != first || p.Runs[1].Run != second {
		t.Errorf("listing %+v, units %+v", l, p.Units)
	}
	if p = w.prove(testID(1)); p.Runs[0].Reason != schemas.OperatorRejected || len(p.Units) != 2 || p.Units[0].Count != 2 || p.Units[0].FlaggedBy != nil {
		t.Errorf("units %+v", p.Units)
	}
}

func TestUnknownIDWasNeverSeen(t *testing.T) {
	w := newWorld(t)
	w.fill()
	if p := w.prove(testID(9999)); p.Seen || len(p.Runs) != 0 {
		t.Errorf("before any run: %+v", p)
	}
	w.run(false)
	p := w.prove(testID(9999))
	if p.Seen || answers(p) != "not_in_data" || p.Listing != nil || len(p.Units) != 0 || p.Scan.Rows != 203 {
		t.Errorf("%+v", p)
	}
}

// What a dry run found is told, and is no flag.
func TestDryRunIsNoFlag(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	w.run(true)
	p := w.prove(testID(4))
	if answers(p) != "opted_out" || !p.Runs[0].DryRun || p.Listing != nil || p.Units[0].FlaggedBy != nil {
		t.Errorf("%+v", p)
	}
	run := w.run(false)
	if p = w.prove(testID(4)); answers(p) != "opted_out opted_out" || p.Listing.Run != run {
		t.Errorf("%+v", p)
	}
}

// A unit that another program wrote has no flag that the ledger can vouch for.
func TestRewrittenUnitIsNotCalledFlagged(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	w.run(false)
	w.table.put("a", w.table.cells["a"]...)
	if p := w.prove(testID(4)); p.Units[0].FlaggedBy != nil {
		t.Errorf("%+v", p.Units)
	}
	run := w.run(false)
	if p := w.prove(testID(4)); p.Units[0].FlaggedBy == nil || p.Units[0].FlaggedBy.Run != run {
		t.Errorf("%+v", p.Units)
	}
}

func TestOtherSpellingsAreFound(t *testing.T) {
	w := newWorld(t)
	// An id whose text has a character that base64url spells otherwise, and
	// one of 32 bytes, which is padded.
	n := 0
	for !strings.ContainsAny(string(cell(n)), "+/") {
		n++
	}
	id := testID(n)
	urlSafe := base64.URLEncoding.EncodeToString(id.Raw())
	w.table.put("a", cell(n), []byte(urlSafe), []byte("  "+string(cell(n))), []byte(urlSafe[1:]), cell(n+1))
	if p := w.prove(id); len(p.Units) != 1 || p.Units[0].Count != 3 || p.Units[0].Misspelt != 1 || !slices.Equal(p.Units[0].Rows, []int64{0, 1, 2}) {
		t.Errorf("%+v", p.Units)
	}
	short, err := schemas.FromRaw(id.Raw()[1:])
	if err != nil {
		t.Fatal(err)
	}
	text := string(short.AppendText(nil))
	w.table.put("a", []byte(text), []byte(strings.TrimRight(text, "=")))
	if p := w.prove(short); len(p.Units) != 1 || p.Units[0].Count != 2 || p.Units[0].Misspelt != 1 {
		t.Errorf("%+v", p.Units)
	}
}

func TestUnreadableUnitIsTold(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.table.broken["a"] = true
	p := w.prove(testID(1))
	if len(p.Scan.Failures) != 1 || p.Scan.Failures[0].Unit != "a" || len(p.Units) != 1 || p.Units[0].Unit != "b" {
		t.Errorf("%+v %+v", p.Scan, p.Units)
	}
}

func TestRowsAreCappedAndCounted(t *testing.T) {
	w := newWorld(t)
	w.table.put("a", slices.Repeat([][]byte{cell(1)}, maxRows+5)...)
	if p := w.prove(testID(1)); p.Units[0].Count != maxRows+5 || len(p.Units[0].Rows) != maxRows {
		t.Errorf("%d rows, %d listed", p.Units[0].Count, len(p.Units[0].Rows))
	}
}

// What retention removed is a gap and not a "no".
func TestRemovedRecordsAreGaps(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	run := w.run(false)
	l := sweep.Layout(w.dir)
	if err := os.RemoveAll(l.Run(run, sweep.ShardsDir)); err != nil {
		t.Fatal(err)
	}
	if p := w.prove(testID(4)); answers(p) != "opted_out" {
		t.Errorf("answers %s", answers(p))
	}
	p := w.prove(testID(5))
	if len(p.Runs) != 0 || len(p.Gaps) != 1 || !strings.Contains(p.Gaps[0], "1 runs from 2026-05-01") {
		t.Errorf("%+v", p)
	}
	if err := os.Remove(l.Run(run, sweep.CheckJournal)); err != nil {
		t.Fatal(err)
	}
	if p := w.prove(testID(4)); len(p.Runs) != 0 || len(p.Gaps) != 1 || p.Listing == nil || p.Units[0].FlaggedBy == nil {
		t.Errorf("%+v", p)
	}
}

// A journal that is whole but not the one that the ledger knows proves nothing.
func TestExchangedJournalIsNoProof(t *testing.T) {
	w := newWorld(t)
	w.fill()
	first := w.run(false)
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	second := w.run(false)
	l := sweep.Layout(w.dir)
	data, err := os.ReadFile(l.Run(first, sweep.CheckJournal))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Run(second, sweep.CheckJournal), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := w.prove(testID(4)); answers(p) != "clear clear?" {
		t.Errorf("answers %s", answers(p))
	}
}

func TestDamagedWorkspaceIsAnError(t *testing.T) {
	for name, damage := range map[string]func(w *world, l sweep.Layout) error{
		"no workspace":       func(w *world, _ sweep.Layout) error { return os.Remove(filepath.Join(w.dir, "workspace.json")) },
		"no pseudonym key":   func(_ *world, l sweep.Layout) error { return os.Remove(l.PseudonymKey()) },
		"short key":          func(_ *world, l sweep.Layout) error { return os.WriteFile(l.PseudonymKey(), []byte("x"), 0o600) },
		"no ledger":          func(_ *world, l sweep.Layout) error { return os.Remove(l.Ledger()) },
		"changed ledger":     func(_ *world, l sweep.Layout) error { return os.WriteFile(l.Ledger(), []byte("{}\n"), 0o600) },
		"no suppression":     func(w *world, _ sweep.Layout) error { return os.RemoveAll(filepath.Join(w.dir, "suppression")) },
		"changed check file": func(w *world, l sweep.Layout) error { return w.each(l, sweep.CheckJournal, "{}\n") },
		"changed shards": func(w *world, l sweep.Layout) error {
			return w.each(l, filepath.Join(sweep.ShardsDir, "manifest.json"), "{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fill()
			w.operator.optedOut[testID(4)] = 1_600_000_000_000
			w.run(false)
			l := sweep.Layout(w.dir)
			if err := damage(w, l); err != nil {
				t.Fatal(err)
			}
			p, err := Ask(context.Background(), l, Question{ID: testID(4), Rules: euid, Now: w.now})
			if err == nil {
				t.Fatalf("proved %+v", p)
			}
		})
	}
}

// each overwrites a file of every run.
func (w *world) each(l sweep.Layout, name, text string) error {
	runs, err := os.ReadDir(l.Runs())
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := os.WriteFile(l.Run(r.Name(), name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func TestProofShowsNoID(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	w.run(false)
	p := w.prove(testID(4))
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%s %+v", data, p); strings.Contains(text, string(cell(4))) || !strings.Contains(text, p.Pseudonym) {
		t.Error("the proof shows the id, or not its pseudonym")
	}
}
