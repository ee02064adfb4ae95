package idset

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

// spellings of an id, right and wrong.
func spelling(t *rapid.T, id schemas.ID) []byte {
	text := id.AppendText(nil)
	switch rapid.SampledFrom([]string{"canonical", "space", "spaces", "char", "spare bits", "urlsafe", "cut", "longer", "null", "lower"}).Draw(t, "spelling") {
	case "space":
		return append([]byte(" "), text...)
	case "spaces":
		return []byte("\t " + string(text) + "\r\n")
	case "char":
		text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "char")
	case "spare bits":
		text[42]++
	case "urlsafe":
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("+"), []byte("-")), []byte("/"), []byte("_"))
	case "cut":
		return text[:rapid.IntRange(0, len(text)-1).Draw(t, "length")]
	case "longer":
		return append(text, rapid.Byte().Draw(t, "more"))
	case "null":
		return nil
	case "lower":
		return bytes.ToLower(text)
	}
	return text
}

func TestSinceIsParsingAndLookingUp(t *testing.T) {
	ids := randomIDs(1, 400)
	rapid.Check(t, func(t *rapid.T) {
		set := NewOptedOut(rules, rapid.IntRange(0, 300).Draw(t, "expect"))
		want := make(map[schemas.ID]int64)
		for range rapid.IntRange(0, 400).Draw(t, "adds") {
			x := schemas.OptOut{ID: ids[rapid.IntRange(0, 299).Draw(t, "id")], SinceMS: rapid.Int64().Draw(t, "since")}
			if err := set.Add(x); err != nil {
				t.Fatal(err)
			}
			if old, ok := want[x.ID]; !ok || x.SinceMS < old {
				want[x.ID] = x.SinceMS
			}
		}
		if set.Len() != len(want) {
			t.Fatalf("%d ids, want %d", set.Len(), len(want))
		}
		var cells [][]byte
		var hits []string
		for i := range 300 {
			cell := spelling(t, ids[rapid.IntRange(0, len(ids)-1).Draw(t, "cell")])
			id, _, reason := rules.Parse(cell)
			since, ok := want[id]
			ok = ok && reason == schemas.Valid
			if !ok {
				since = 0
			}
			if got, gotOK := set.Since(cell); gotOK != ok || got != since {
				t.Fatalf("Since gives %d %v, want %d %v", got, gotOK, since, ok)
			}
			if got, gotOK := set.SinceID(id); reason == schemas.Valid && (gotOK != ok || got != since) {
				t.Fatalf("SinceID gives %d %v, want %d %v", got, gotOK, since, ok)
			}
			cells = append(cells, cell)
			if ok {
				hits = append(hits, fmt.Sprint(i, since))
			}
		}
		var got []string
		set.SinceEach(cells, func(i int, since int64) { got = append(got, fmt.Sprint(i, since)) })
		if !slices.Equal(got, hits) {
			t.Fatalf("SinceEach gives %d hits, want %d", len(got), len(hits))
		}
	})
}

// Many cells, without anything that takes the slow path.
func TestSinceEachFindsAll(t *testing.T) {
	ids := randomIDs(1, 20_000)
	set := NewOptedOut(rules, 0)
	cells := make([][]byte, len(ids))
	for i, id := range ids {
		cells[i] = id.AppendText(nil)
		if i%3 == 0 {
			if err := set.Add(schemas.OptOut{ID: id, SinceMS: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	next := 0
	set.SinceEach(cells, func(i int, since int64) {
		if i != next || since != int64(i) {
			t.Fatalf("hit %d (%d), want %d", i, since, next)
		}
		next += 3
	})
	if next < len(ids) {
		t.Fatalf("the last hit is %d", next-3)
	}
}

func TestOptedOutMemory(t *testing.T) {
	for n := 100_000; n < 210_000; n += 10_000 {
		set := NewOptedOut(rules, n)
		for _, id := range randomIDs(uint64(n), n) {
			if err := set.Add(schemas.OptOut{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if per := float64(set.Bytes()) / float64(set.Len()); per > 56 {
			t.Errorf("%d ids: %.1f bytes per id", n, per)
		}
	}
}

func TestOptedOutIsReadConcurrently(t *testing.T) {
	ids := randomIDs(1, 1000)
	set := NewOptedOut(rules, 0)
	for i, id := range ids {
		if err := set.Add(schemas.OptOut{ID: id, SinceMS: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, id := range ids {
				if since, ok := set.Since(id.AppendText(nil)); !ok || since != int64(i) {
					t.Errorf("id %d: %d %v", i, since, ok)
				}
			}
		})
	}
	wg.Wait()
}

func TestSinceDoesNotAllocate(t *testing.T) {
	set := NewOptedOut(rules, 0)
	id := randomIDs(1, 1)[0]
	if err := set.Add(schemas.OptOut{ID: id, SinceMS: 5}); err != nil {
		t.Fatal(err)
	}
	cell := id.AppendText(nil)
	if _, ok := set.Since([]byte(strings.Repeat("A", schemas.TextSize))); ok {
		t.Error("a reserved id is found")
	}
	if n := testing.AllocsPerRun(100, func() { set.Since(cell) }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}
