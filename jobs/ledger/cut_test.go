package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"
	"optsweep/schemas/durable"
	"optsweep/schemas/durable/powerloss"
)

// cutAt is the data of an event that removes those up to l.
func cutAt(l Head) schemas.LedgerCut {
	return schemas.LedgerCut{Last: l, User: "ops", Host: "alpha"}
}

// events writes a log of n events and gives the head at each.
func events(t testing.TB, path string, n int) []Head {
	t.Helper()
	for range n {
		write(t, path, "x")
	}
	heads := []Head{{}}
	if _, err := ReadLines(path, func(l Line) error {
		heads = append(heads, Head{Seq: l.Event.Seq, Hash: l.Hash})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return heads
}

func open(t testing.TB, disk durable.Disk, path string) *Chain {
	t.Helper()
	c, err := Open(disk, path, clock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func appendCut(t testing.TB, path string, l Head) {
	t.Helper()
	c := open(t, durable.Disk{}, path)
	defer c.Close()
	if _, err := c.Append("", schemas.EventLedgerCut, cutAt(l)); err != nil {
		t.Fatal(err)
	}
}

func mine() error { return nil }

func lines(t testing.TB, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l := bytes.SplitAfter(data, []byte("\n"))
	return l[:len(l)-1]
}

func writeLines(t testing.TB, path string, l [][]byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Join(l, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCutLeavesTheRestByteForByteAndGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	heads := events(t, path, 5)
	appendCut(t, path, heads[3])
	whole := lines(t, path)
	if end, err := Read(path, nil); err != nil || end.Cut != nil || end.Pending == nil || end.Pending.Last != heads[3] || end.Pending.Seq != 6 {
		t.Fatalf("before: %+v, %v", end, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	c := open(t, durable.Disk{}, path)
	if err := c.Cut(heads[3], mine); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); !bytes.Equal(bytes.Join(got, nil), bytes.Join(whole[3:], nil)) {
		t.Fatalf("left %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if e, err := c.Append("", "note_x", note{"after"}); err != nil || e.Seq != 7 {
		t.Fatalf("event %d, %v", e.Seq, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, "reopened")
	var seqs []int64
	end, err := Read(path, func(e schemas.Event) error { seqs = append(seqs, e.Seq); return nil })
	if err != nil || fmt.Sprint(seqs) != "[4 5 6 7 8]" || end.Begin() != heads[3] || end.Cut.User != "ops" || end.Cut.Seq != 6 || end.Pending != nil {
		t.Fatalf("%v, %+v, %v", seqs, end, err)
	}

	// Once more: the event of the first cut goes, too.
	end, err = Read(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	appendCut(t, path, end.Head) // all but the cut itself
	c = open(t, durable.Disk{}, path)
	defer c.Close()
	if err := c.Cut(end.Head, mine); err != nil {
		t.Fatal(err)
	}
	if again, err := Read(path, nil); err != nil || again.Seq != 9 || again.Begin() != end.Head || len(lines(t, path)) != 1 {
		t.Fatalf("%+v, %v", again, err)
	}
}

// Only a cut that the log announces happens, and only while the log is the
// holder's and as it was left.
func TestCutThatMayNotHappen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	heads := events(t, path, 5)
	appendCut(t, path, heads[3])
	whole := lines(t, path)
	lost := errors.New("lost the lease")
	for name, cut := range map[string]func(c *Chain) error{
		"not announced": func(c *Chain) error { return c.Cut(heads[2], mine) },
		"too much":      func(c *Chain) error { return c.Cut(heads[4], mine) },
		"wrong hash":    func(c *Chain) error { return c.Cut(Head{Seq: 3, Hash: heads[2].Hash}, mine) },
		"fenced off":    func(c *Chain) error { return c.Cut(heads[3], func() error { return lost }) },
		"changed": func(c *Chain) error {
			write(t, path, "by another")
			defer writeLines(t, path, whole)
			return c.Cut(heads[3], mine)
		},
	} {
		c := open(t, durable.Disk{}, path)
		if err := cut(c); err == nil {
			t.Errorf("%s: it happened", name)
		}
		_ = c.Close()
		if got := lines(t, path); len(got) != len(whole) {
			t.Fatalf("%s: %d lines", name, len(got))
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// line is the envelope of an event on disk.
type line struct {
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

// forge appends a line with a correct hash.
func forge(t testing.TB, l [][]byte, typ schemas.EventType, run string, data any) [][]byte {
	t.Helper()
	var last line
	if err := json.Unmarshal(l[len(l)-1], &last); err != nil {
		t.Fatal(err)
	}
	var e schemas.Event
	if err := json.Unmarshal(last.Event, &e); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(schemas.Event{Seq: e.Seq + 1, Time: e.Time, Run: run, Type: typ, Prev: last.Hash, Data: raw})
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(line{Hash: hashOf(body), Event: body})
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(l), append(record, '\n'))
}

// A log may begin later than with its first event only if an event of its own
// says so.
func TestForgedBeginningIsFound(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l")
	h := events(t, path, 6)
	plain := lines(t, path)
	cut := func(l Head) [][]byte { return forge(t, plain, schemas.EventLedgerCut, "", cutAt(l)) }
	for name, c := range map[string]struct {
		lines [][]byte
		want  string // in the error; empty for none
	}{
		"whole":                       {plain, ""},
		"first dropped":               {plain[1:], "its beginning was cut off: it begins with event 2"},
		"only the last left":          {plain[5:], "its beginning was cut off: it begins with event 6"},
		"announced, not happened":     {cut(h[3]), ""},
		"happened":                    {cut(h[3])[3:], ""},
		"partly happened":             {cut(h[3])[2:], "its beginning was cut off: it begins with event 3"},
		"one dropped more":            {cut(h[3])[4:], "its beginning was cut off: it begins with event 5"},
		"all but the cut":             {cut(h[6])[6:], ""},
		"the cut dropped again":       {cut(h[3])[3:6], "its beginning was cut off: it begins with event 4"},
		"wrong hash":                  {cut(Head{Seq: 3, Hash: h[2].Hash})[3:], "its beginning was cut off"},
		"wrong hash, not happened":    {cut(Head{Seq: 3, Hash: h[2].Hash}), "event 3 is not the one that event 7 says"},
		"no hash":                     {cut(Head{Seq: 3, Hash: ""})[3:], "a cut that names no event before it"},
		"names itself":                {cut(Head{Seq: 7, Hash: h[2].Hash}), "a cut that names no event before it"},
		"names what is to come":       {forge(t, cut(Head{Seq: 8, Hash: h[2].Hash}), "note_x", "", note{})[7:], "its beginning was cut off: it begins with event 8"},
		"names nothing":               {cut(Head{}), "a cut that names no event before it"},
		"of a run":                    {forge(t, plain, schemas.EventLedgerCut, "r1", cutAt(h[3]))[3:], "its beginning was cut off"},
		"of another type":             {forge(t, plain, "note_x", "", map[string]any{"type": "ledger_cut", "last": h[3]})[3:], "its beginning was cut off"},
		"not a cut's data":            {forge(t, plain, schemas.EventLedgerCut, "", "x")[3:], "a cut that names no event before it"},
		"two in a row":                {forge(t, cut(h[2]), schemas.EventLedgerCut, "", cutAt(h[4]))[4:], ""},
		"two in a row, one happened":  {forge(t, cut(h[2]), schemas.EventLedgerCut, "", cutAt(h[4]))[2:], ""},
		"two in a row, none happened": {forge(t, cut(h[2]), schemas.EventLedgerCut, "", cutAt(h[4])), ""},
		"two in a row, between":       {forge(t, cut(h[2]), schemas.EventLedgerCut, "", cutAt(h[4]))[3:], "its beginning was cut off"},
		"the cut torn": {append(slices.Clone(plain[3:]), cut(h[3])[6][:40]),
			"its beginning was cut off"},
		"torn behind the cut": {append(slices.Clone(cut(h[3])[3:]), []byte(`{"hash"`)), ""},
		"cut, then the middle dropped": {append(slices.Clone(cut(h[3])[3:4]), cut(h[3])[5:]...),
			"does not follow"},
		"cut, then changed": {append([][]byte{bytes.Replace(plain[3], []byte("note_x"), []byte("voted"), 1)}, cut(h[3])[4:]...),
			"the hash does not fit"},
	} {
		writeLines(t, path, c.lines)
		seen := 0
		end, err := Read(path, func(schemas.Event) error { seen++; return nil })
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (schemas.ClassOf(err) != schemas.Integrity || schemas.HintOf(err) == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		case strings.Contains(c.want, "beginning") && seen > 0:
			t.Errorf("%s: %d events were passed on", name, seen)
		case c.want == "" && end.Begin().Seq+int64(seen) != end.Seq:
			t.Errorf("%s: %+v of %d events", name, end, seen)
		}
		if c.want != "" {
			if chain, err := Open(durable.Disk{}, path, clock(), nil); err == nil {
				t.Errorf("%s: opened", name)
				_ = chain.Close()
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, bytes.Join(c.lines, nil)) {
				t.Errorf("%s: the log was changed", name)
			}
		}
	}
}

// A head that was recorded before the cut fits only if it is the event that the
// log begins behind.
func TestHeadOfACutLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	h := events(t, path, 6)
	l := forge(t, lines(t, path), schemas.EventLedgerCut, "", cutAt(h[3]))
	writeLines(t, path, l[3:])
	for name, c := range map[string]struct {
		known Head
		want  string
	}{
		"none": {Head{}, ""}, "at the beginning": {h[3], ""}, "behind": {h[5], ""},
		"before":             {h[2], "retention has removed its events up to 3, and the head is event 2"},
		"another at the cut": {Head{Seq: 3, Hash: h[2].Hash}, "retention has removed"},
		"another behind":     {Head{Seq: 5, Hash: h[2].Hash}, "event 5 is not the one"},
		"past the end":       {Head{Seq: 9, Hash: h[2].Hash}, "it ends with event 7"},
	} {
		chain, err := OpenFrom(durable.Disk{}, path, clock(), c.known, nil)
		if err == nil {
			_ = chain.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && (schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// Whatever step of a cut fails, stored or not: the log is as before or as
// after, nothing is appended to a file that is no longer the log, and the cut
// can be completed.
func TestFailedCut(t *testing.T) {
	steps := map[durable.Step]bool{}
	for _, stored := range []bool{false, true} {
		for step := 0; ; step++ {
			path := filepath.Join(t.TempDir(), "l")
			h := events(t, path, 5)
			appendCut(t, path, h[3])
			before := bytes.Join(lines(t, path), nil)
			after := bytes.Join(lines(t, path)[3:], nil)
			n, armed := 0, false
			c := open(t, durable.Disk{Fault: func(s durable.Step, _ string) (bool, error) {
				if !armed {
					return false, nil
				}
				steps[s] = true
				if n++; n == step+1 {
					return stored, errors.New("injected")
				}
				return false, nil
			}}, path)
			armed = true
			err := c.Cut(h[3], mine)
			armed = false
			if (err == nil) != (n <= step) {
				t.Fatalf("step %d stored=%v: %v", step, stored, err)
			}
			if got := bytes.Join(lines(t, path), nil); !bytes.Equal(got, before) && !bytes.Equal(got, after) {
				t.Fatalf("step %d stored=%v: neither before nor after: %q", step, stored, got)
			}
			// What an append says to be stored is stored.
			_, appendErr := c.Append("", "note_x", note{"behind"})
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			end, readErr := Read(path, nil)
			if readErr != nil || (appendErr == nil) != (end.Seq == 7) {
				t.Fatalf("step %d stored=%v: append %v, end %+v, %v", step, stored, appendErr, end, readErr)
			}
			if end.Pending != nil {
				again := open(t, durable.Disk{}, path)
				if err := again.Cut(h[3], mine); err != nil {
					t.Fatalf("step %d stored=%v: %v", step, stored, err)
				}
				_ = again.Close()
			}
			if got := bytes.Join(lines(t, path), nil); !bytes.HasPrefix(got, after) {
				t.Fatalf("step %d stored=%v: not completed", step, stored)
			}
			if n <= step {
				break
			}
		}
	}
	for _, s := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename, durable.SyncDir} {
		if !steps[s] {
			t.Errorf("no step %s", s)
		}
	}
}

// The power goes at any step of a cut.
func TestCutSurvivesAPowerLoss(t *testing.T) {
	for _, way := range []powerloss.Cut{{}, {Stored: true}, {Torn: true}} {
		for ; ; way.Step++ {
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "l")
			h := events(t, path, 5)
			before := lines(t, path)
			power, err := powerloss.New(dir, way)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Open(power.Durable(), path, clock(), nil)
			if err == nil {
				if _, err = c.Append("", schemas.EventLedgerCut, cutAt(h[3])); err == nil {
					err = c.Cut(h[3], mine)
				}
				if err == nil {
					_, err = c.Append("", "note_x", note{"behind"})
				}
				_ = c.Close()
			}
			reached := power.Dead()
			if reached == (err == nil) {
				t.Fatalf("%+v: %v", way, err)
			}
			if err := power.Lose(); err != nil {
				t.Fatal(err)
			}
			end, err := Read(path, nil)
			if err != nil || end.Seq < 5 || !reached && (end.Seq != 7 || end.Begin() != h[3]) {
				t.Fatalf("%+v: %+v, %v", way, end, err)
			}
			if got := bytes.Join(lines(t, path), nil); !bytes.HasPrefix(got, bytes.Join(before[end.Begin().Seq:], nil)) {
				t.Fatalf("%+v: lost a line", way)
			}
			if !reached {
				if way.Step < 10 {
					t.Fatalf("only %d steps", way.Step)
				}
				break
			}
		}
	}
}
