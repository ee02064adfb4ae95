package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func clock() func() time.Time {
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { t = t.Add(time.Second); return t }
}

type note struct {
	Text string `json:"text"`
}

func write(t testing.TB, path string, texts ...string) {
	t.Helper()
	c, err := OpenOrCreate(durable.Disk{}, path, clock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range texts {
		if _, err := c.Append("run", "note_x", note{text}); err != nil {
			t.Fatal(err)
		}
	}
}

func read(path string) (texts []string, end End, err error) {
	end, err = Read(path, func(e schemas.Event) error {
		texts = append(texts, string(e.Data))
		return nil
	})
	return texts, end, err
}

func TestAppendedEventsAreReadBackInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "a", "<b> & \u2028")
	write(t, path, "c") // over a reopening
	texts, end, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) != 3 || texts[0] != `{"text":"a"}` || texts[2] != `{"text":"c"}` {
		t.Fatalf("read %q", texts)
	}
	if end.Seq != 3 || end.Torn {
		t.Fatalf("end %+v", end)
	}
}

// A line is the JSON that encoding/json makes of it, whatever the event holds.
func TestLinesAreJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	c, err := Create(durable.Disk{}, path, clock())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var want []byte
	for _, run := range []string{"", "<run>,\"data\":&"} {
		for _, data := range []any{nil, 1, note{"<b> & \u2028 \",\"event\":"}, []byte("bytes"), map[string]any{"data": map[string]any{"data": nil}}, struct{}{}} {
			e, err := c.Append(run, "note_x", data)
			if err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			l, err := json.Marshal(line{Hash: hashOf(body), Event: body})
			if err != nil {
				t.Fatal(err)
			}
			want = append(append(want, l...), '\n')
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
}

// However an event is spelled, it is read as encoding/json reads it.
func TestEventsAreReadAsJSON(t *testing.T) {
	for _, text := range []string{
		`{"seq":1,"time":"2026-01-02T03:04:05Z","type":"t","prev":"p","data":{"a":1}}`,
		`{"seq":1,"time":"2026-01-02T03:04:05Z","type":"t","prev":"p"}`,
		`{"seq":1,"time":"2026-01-02T03:04:05Z","type":"t","data":{"a":1},"prev":"p"}`,
		`{"seq":1,"time":"2026-01-02T03:04:05Z","type":"t","prev":"p","data":{"a":1},"data":{"a":2}}`,
		`{"seq":1,"x":{"y":1,"data":2},"type":"t"}`,
		`{"seq":1,"run":"\",\"data\":","type":"t","data":"\",\"data\":"}`,
		`{"seq":1,"data":{"a":1},"type":"other","data":}`,
		`{"seq":1,"data":{"a":1}`, `{"seq":1,"data":`, `{"seq":"1","data":{}}`, `,"data":{}}`, `{`, ``,
	} {
		var want schemas.Event
		wantErr := json.Unmarshal([]byte(text), &want)
		got, err := parseEvent([]byte(text))
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", text, got, err, want, wantErr)
		}
	}
}

func TestMissingLogIsAnErrorAndIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	if _, err := Open(durable.Disk{}, path, clock(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the log was made")
	}
}

func TestExistingLogIsNotCreatedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "a")
	if _, err := Create(durable.Disk{}, path, clock()); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v", err)
	}
}

// A crash can cut the file anywhere in the last line, and only there.
func TestCutLogKeepsEveryWholeLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l")
	write(t, path, "a", "b", "c")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(whole[:n], []byte{'\n'})
		texts, end, err := read(path)
		if err != nil || len(texts) != lines || end.Torn != (n > 0 && whole[n-1] != '\n') {
			t.Fatalf("cut at %d: %d events, torn %v, %v", n, len(texts), end.Torn, err)
		}
		write(t, path, "new")
		if texts, _, err = read(path); err != nil || len(texts) != lines+1 || texts[lines] != `{"text":"new"}` {
			t.Fatalf("cut at %d, then appended: %q, %v", n, texts, err)
		}
	}
}

// Changing any byte of a line that others follow is found.
func TestEveryChangedByteIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "first", "second", "third")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n')
	for i := range last {
		for _, flip := range []byte{1, 0x20, 0x80} {
			changed := bytes.Clone(whole)
			changed[i] ^= flip
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := read(path); schemas.ClassOf(err) != schemas.Integrity {
				t.Fatalf("byte %d changed by %#x: got %v", i, flip, err)
			}
		}
	}
}

func TestRemovedSwappedAndRepeatedLinesAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	write(t, path, "a", "b", "c")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l := strings.SplitAfter(string(whole), "\n")
	for name, lines := range map[string][]string{
		"first removed": {l[1], l[2]}, "middle removed": {l[0], l[2]},
		"swapped": {l[1], l[0], l[2]}, "repeated": {l[0], l[0], l[1]}, "blank line": {l[0], "\n", l[1]},
	} {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(path); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Whatever step of an append fails, stored or not: the error is seen, nothing
// more is appended, and after a reopening the log is whole and goes on.
func TestFailedAppend(t *testing.T) {
	for _, step := range []durable.Step{durable.Write, durable.Sync} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stored=%v", step, stored), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "l")
				armed := false
				disk := durable.Disk{Fault: func(s durable.Step, _ string) (bool, error) {
					if armed && s == step {
						return stored, errors.New("injected")
					}
					return false, nil
				}}
				c, err := Create(disk, path, clock())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Append("", "note_x", note{"before"}); err != nil {
					t.Fatal(err)
				}
				armed = true
				if _, err := c.Append("", "note_x", note{"failing"}); err == nil {
					t.Fatal("the failure was not seen")
				}
				armed = false
				if _, err := c.Append("", "note_x", note{"later"}); err == nil {
					t.Fatal("appended behind an end in doubt")
				}
				c.Close()
				write(t, path, "after")
				texts, _, err := read(path)
				if err != nil || texts[0] != `{"text":"before"}` || texts[len(texts)-1] != `{"text":"after"}` {
					t.Fatalf("read %q, %v", texts, err)
				}
				wantStored := step == durable.Sync || stored
				if got := len(texts) == 3; got != wantStored {
					t.Fatalf("stored %v, want %v", got, wantStored)
				}
			})
		}
	}
}

func TestAnyTextSurvives(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		texts := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "texts")
		c, err := Create(durable.Disk{}, path, clock())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var want []string
		for _, text := range texts {
			e, err := c.Append("r", "note_x", note{text})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, string(e.Data))
		}
		got, _, err := read(path)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	})
}

func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	write(f, path, "a", "b")
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-3])
	h := events(f, path, 2)
	appendCut(f, path, h[2])
	cut := lines(f, path)
	f.Add(bytes.Join(cut[2:], nil))
	f.Add(bytes.Join(cut[3:], nil))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "l")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		end, err := Read(path, nil)
		if err != nil {
			if end != (End{}) {
				t.Fatal("an error and an end")
			}
			return
		}
		if end.Size > int64(len(data)) || end.Torn != (end.Size < int64(len(data))) {
			t.Fatalf("end %+v of %d bytes", end, len(data))
		}
	})
}

// What a newer version has written may matter: nobody reads on, and nothing is
// appended behind it. Notes are passed on.
func TestEventOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	c, err := Create(durable.Disk{}, path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []schemas.EventType{schemas.EventRunStarted, "note_x"} {
		if _, err := c.Append("r", typ, 1); err != nil {
			t.Fatal(err)
		}
	}
	var seen []schemas.EventType
	see := func(e schemas.Event) error {
		seen = append(seen, e.Type)
		return nil
	}
	if _, err := Read(path, see); err != nil || len(seen) != 2 {
		t.Fatalf("%v, %v", seen, err)
	}
	if _, err := c.Append("r", "id_expired", 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, readErr := Read(path, see)
	_, openErr := Open(durable.Disk{}, path, time.Now, nil)
	_, runsErr := Runs(path, func(Run) error { return nil })
	for _, err := range []error{readErr, openErr, runsErr} {
		if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(err.Error(), `line 3 is of a kind that this version of optsweep does not know: "id_expired"`) || !strings.Contains(schemas.HintOf(err), "newer version") {
			t.Errorf("%v (%s)", err, schemas.HintOf(err))
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the log was changed, %v", err)
	}
}

// Events that are appended together stand in the log like others, and are
// synced once.
func TestEventsAppendedTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	syncs := 0
	disk := durable.Disk{Fault: func(s durable.Step, _ string) (bool, error) {
		if s == durable.Sync {
			syncs++
		}
		return false, nil
	}}
	c, err := Create(disk, path, clock())
	if err != nil {
		t.Fatal(err)
	}
	events, err := c.AppendAll("run", []Entry{{"note_x", note{"a"}}, {"note_x", note{"b"}}, {"note_x", note{"c"}}})
	if err != nil || len(events) != 3 || events[2].Seq != 3 || syncs != 1 {
		t.Fatalf("%d events, %d syncs, %v", len(events), syncs, err)
	}
	if _, err := c.AppendAll("run", []Entry{{"note_x", note{"d"}}, {"note_x", func() {}}}); err == nil {
		t.Fatal("something that is no JSON was appended")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, "e")
	texts, end, err := read(path)
	if err != nil || end.Seq != 4 || strings.Join(texts, "") != `{"text":"a"}{"text":"b"}{"text":"c"}{"text":"e"}` {
		t.Fatalf("read %q, %+v, %v", texts, end, err)
	}
}
