package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestHeadIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), HeadFile)
	want := Head{Seq: 7, Hash: "ab"}
	if err := WriteHead(durable.Disk{}, path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadHead(path)
	if err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "cut": whole[:len(whole)-1], "behind": append(bytes.Clone(whole), ' '), "list": []byte("[]\n"),
		"negative": []byte(`{"seq":-1,"hash":""}` + "\n"), "another field": []byte(`{"seq":1,"hash":"","x":1}` + "\n"),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadHead(path); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := ReadHead(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// A log that no longer holds an event that it is known to have held is not
// opened, and not changed.
func TestLogThatLostItsEndIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "a", "b", "c")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end, err := Read(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "l")
	write(t, other, "a", "b", "changed", "d")
	rewritten, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, c := range map[string]struct {
		data []byte
		want string // in the error; empty for none
	}{
		"whole":      {whole, ""},
		"cut off":    {bytes.Join(lines[:2], nil), "ends with event 2, but it had event 3"},
		"torn":       {append(bytes.Join(lines[:2], nil), lines[2][:9]...), "ends with event 2"},
		"emptied":    {nil, "ends with event 0"},
		"rewritten":  {rewritten, "event 3 is not the one"},
		"torn after": {append(bytes.Clone(whole), "{"...), ""},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		chain, err := OpenFrom(durable.Disk{}, path, clock(), end.Head, nil)
		if err == nil {
			_ = chain.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && (schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
		if now, _ := os.ReadFile(path); c.want != "" && !bytes.Equal(now, c.data) {
			t.Errorf("%s: the log was changed", name)
		}
	}
}

// A part of a log is verified from the event before it.
func TestScanOfAPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "a", "b", "c")
	var all []Line
	if _, err := ReadLines(path, func(l Line) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	part := append(bytes.Clone(all[1].Raw), all[2].Raw...)
	none := func(Line) error { return nil }
	end, err := Scan("part", bytes.NewReader(part), Head{Seq: 1, Hash: all[0].Hash}, none)
	if err != nil || end.Head != (Head{Seq: 3, Hash: all[2].Hash}) || end.Size != int64(len(part)) {
		t.Fatalf("%+v, %v", end, err)
	}
	for _, from := range []Head{{}, {Seq: 1, Hash: all[1].Hash}, {Seq: 2, Hash: all[0].Hash}} {
		if _, err := Scan("part", bytes.NewReader(part), from, none); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("from %+v: got %v", from, err)
		}
	}
}

func TestRunsAreToldApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	c, err := Create(durable.Disk{}, path, clock())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		run string
		typ schemas.EventType
	}{
		{"", schemas.EventWorkspaceCreated},
		{"r0", schemas.EventChecked}, // of no run that was started
		{"r1", schemas.EventRunStarted}, {"r1", schemas.EventPlanned}, {"", "note_x"}, {"r1", schemas.EventRunFinished},
		{"r1", "note_x"}, // after its end
		{"r2", schemas.EventRunStarted}, {"r2", schemas.EventRunAbandoned},
		{"r3", schemas.EventRunStarted}, {"r3", schemas.EventRunInterrupted},
	} {
		if _, err := c.Append(e.run, e.typ, struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Run
	end, err := Runs(path, func(r Run) error { got = append(got, r); return nil })
	if err != nil || end.Seq != 11 || len(got) != 3 {
		t.Fatalf("%d runs, end %+v, %v", len(got), end, err)
	}
	for i, want := range []struct {
		id          string
		events      int
		ended       bool
		first, last int64
	}{{"r1", 3, true, 3, 6}, {"r2", 2, true, 8, 9}, {"r3", 2, false, 10, 11}} {
		r := got[i]
		if r.ID != want.id || len(r.Events) != want.events || r.Ended != want.ended || r.First() != want.first || r.Last() != want.last {
			t.Errorf("run %d: %s, %d events from %d to %d, ended %v", i, r.ID, len(r.Events), r.First(), r.Last(), r.Ended)
		}
	}
	stop := errors.New("stop")
	if _, err := Runs(path, func(Run) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
