package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"optsweep/jobs/audit"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/signing"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

var update = flag.Bool("update", false, "write testdata/v1.zip anew")

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// workspace holds two finished runs and one that was interrupted.
func workspace(t testing.TB) (b *sweeptest.Bench, runs []string) {
	t.Helper()
	b, err := sweeptest.New(t.TempDir())
	check(t, err)
	b.Rejected[sweeptest.ID(1)] = schemas.OperatorRejected
	for n := range 3 {
		if n == 2 {
			b.Fail = func(batch int) error {
				if batch == 3 {
					return errors.New("down")
				}
				return nil
			}
		}
		rep, err := b.Run(context.Background())
		if n < 2 {
			check(t, err)
		}
		runs = append(runs, rep.Run)
	}
	return b, runs
}

func options(b *sweeptest.Bench) Options {
	return Options{Dir: b.Dir, Key: testKey(1), ToolVersion: sweeptest.ToolVersion}
}

func mustWrite(t testing.TB, o Options) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := Write(context.Background(), &buf, o)
	check(t, err)
	return buf.Bytes()
}

func verifyBytes(t testing.TB, data []byte, o VerifyOptions) Result {
	t.Helper()
	if o.ToolVersion == "" {
		o.ToolVersion = sweeptest.ToolVersion
	}
	r, err := Verify(context.Background(), bytes.NewReader(data), int64(len(data)), o)
	check(t, err)
	return r
}

func pinned() VerifyOptions { return VerifyOptions{Fingerprint: signing.Of(testKey(1)).Fingerprint} }

func failures(r Result) (lines []string) {
	for _, c := range r.Checks {
		if c.Status == audit.Failed {
			lines = append(lines, c.What+" | "+c.Run+" | "+c.File+" | "+c.Detail)
		}
	}
	return lines
}

func mustBeWhole(t testing.TB, r Result) {
	t.Helper()
	if r.Checks.Err() != nil {
		t.Fatalf("failed:\n%s", strings.Join(failures(r), "\n"))
	}
}

func TestPackVerifiesAnywhere(t *testing.T) {
	b, runs := workspace(t)
	for name, c := range map[string]struct {
		change func(*Options)
		runs   []string
	}{
		"last that has ended": {func(*Options) {}, runs[1:2]},
		"one run":             {func(o *Options) { o.Run = runs[0] }, runs[:1]},
		"unfinished run":      {func(o *Options) { o.Run = runs[2] }, runs[2:]},
		"period":              {func(o *Options) { o.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }, runs},
		"until":               {func(o *Options) { o.Until = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, runs},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(b)
			c.change(&o)
			data := mustWrite(t, o)
			if !bytes.Equal(data, mustWrite(t, o)) {
				t.Error("the same input gave other bytes")
			}
			r := verifyBytes(t, data, pinned())
			mustBeWhole(t, r)
			if !r.Pinned || r.Checks.Count(audit.Note) != 0 {
				t.Errorf("%+v", r.Checks)
			}
			var got []string
			for _, run := range r.Runs {
				got = append(got, run.Run)
			}
			if strings.Join(got, " ") != strings.Join(c.runs, " ") {
				t.Errorf("runs %v, want %v", got, c.runs)
			}
			r = verifyBytes(t, data, VerifyOptions{})
			mustBeWhole(t, r)
			if r.Pinned || r.Checks.Count(audit.Note) != 1 {
				t.Errorf("it is not said that the signer is not pinned: %+v", r.Checks)
			}
			r = verifyBytes(t, data, VerifyOptions{Fingerprint: signing.Of(testKey(2)).Fingerprint})
			if lines := failures(r); len(lines) != 1 || !strings.HasPrefix(lines[0], "signer") {
				t.Errorf("another key was expected: %q", lines)
			}
		})
	}
}

func TestNoRunToReportOn(t *testing.T) {
	b, _ := workspace(t)
	for name, change := range map[string]func(*Options){
		"unknown run": func(o *Options) { o.Run = "20200101T000000.000Z" },
		"no run then": func(o *Options) { o.Until = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no run at all": func(o *Options) {
			empty, err := sweeptest.New(t.TempDir())
			check(t, err)
			o.Dir = empty.Dir
		},
	} {
		o := options(b)
		change(&o)
		if _, err := Write(context.Background(), io.Discard, o); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// No id of the data stands in a pack, in whatever spelling, and no pseudonym
// in the lists of batches.
func TestPackHoldsNoIDs(t *testing.T) {
	b, _ := workspace(t)
	o := options(b)
	o.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	data := mustWrite(t, o)
	for n := range 60 {
		id := sweeptest.ID(n)
		for _, spelling := range []string{
			string(id.AppendText(nil)), string(id.Raw()), hex.EncodeToString(id.Raw()), base64.RawURLEncoding.EncodeToString(id.Raw()),
			base64.StdEncoding.EncodeToString(id[:])[:20],
		} {
			if bytes.Contains(data, []byte(spelling)) {
				t.Fatalf("id %d is in the pack", n)
			}
		}
	}
	if bytes.Contains(data, []byte("nobody@example.com")) {
		t.Error("a malformed cell is in the pack")
	}
	for name, content := range unzip(t, data) {
		if strings.HasSuffix(name, "batches.ndjson") && (bytes.Contains(content, []byte("id:")) || len(content) == 0) {
			t.Errorf("%s: %s", name, content)
		}
	}
}

func unzip(t testing.TB, data []byte) map[string][]byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	check(t, err)
	files := map[string][]byte{}
	for _, f := range r.File {
		in, err := f.Open()
		check(t, err)
		files[f.Name], err = io.ReadAll(in)
		check(t, err)
		check(t, in.Close())
	}
	return files
}

// Changing any bit of a pack is found, be it in a file, in the signature or
// between the files.
func TestEveryChangedByteIsFound(t *testing.T) {
	b, _ := workspace(t)
	data := mustWrite(t, options(b))
	changed := bytes.Clone(data)
	for i := 0; i < len(data); i += 11 {
		changed[i] ^= 1 << (i % 8)
		if r := verifyBytes(t, changed, VerifyOptions{}); r.Checks.Err() == nil {
			t.Fatalf("byte %d of %d: not found", i, len(data))
		}
		changed[i] = data[i]
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		flip := rapid.ByteRange(1, 255).Draw(t, "flip")
		changed[i] ^= flip
		r, err := Verify(context.Background(), bytes.NewReader(changed), int64(len(changed)), VerifyOptions{ToolVersion: sweeptest.ToolVersion})
		changed[i] = data[i]
		if err != nil || r.Checks.Err() == nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	})
}

func TestCutOffOrExtendedPackIsFound(t *testing.T) {
	b, _ := workspace(t)
	data := mustWrite(t, options(b))
	for n := 0; n < len(data); n += 97 {
		if verifyBytes(t, data[:n], VerifyOptions{}).Checks.Err() == nil {
			t.Fatalf("%d of %d bytes: not found", n, len(data))
		}
	}
	for name, other := range map[string][]byte{
		"behind": append(bytes.Clone(data), 'x'), "before": append([]byte("x"), data...), "twice": append(bytes.Clone(data), data...),
	} {
		if verifyBytes(t, other, VerifyOptions{}).Checks.Err() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// Packs of today must be verifiable by every later version, whatever changes
// in the tool or in the library that writes zip files.
func TestPackOfAnEarlierVersionVerifies(t *testing.T) {
	path := filepath.Join("testdata", "v1.zip")
	if *update {
		b, _ := workspace(t)
		o := options(b)
		o.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		check(t, os.WriteFile(path, mustWrite(t, o), 0o644))
	}
	data, err := os.ReadFile(path)
	check(t, err)
	o := pinned()
	o.ToolVersion = "later"
	r := verifyBytes(t, data, o)
	mustBeWhole(t, r)
	if len(r.Runs) != 3 {
		t.Errorf("%d runs", len(r.Runs))
	}
}

func TestRemovedJournal(t *testing.T) {
	b, runs := workspace(t)
	path := sweep.Layout(b.Dir).Run(runs[1], sweep.CheckJournal)
	other, err := os.ReadFile(sweep.Layout(b.Dir).Run(runs[0], sweep.CheckJournal))
	check(t, err)
	check(t, os.WriteFile(path, other, 0o600))
	if _, err := Write(context.Background(), io.Discard, options(b)); schemas.ClassOf(err) != schemas.Integrity {
		t.Errorf("a journal of another run: %v", err)
	}
	check(t, os.Remove(path))
	r := verifyBytes(t, mustWrite(t, options(b)), pinned())
	mustBeWhole(t, r)
	if r.Checks.Count(audit.Gone) != 1 {
		t.Errorf("%+v", r.Checks)
	}
}

func TestTamperedLedgerGivesNoPack(t *testing.T) {
	b, _ := workspace(t)
	path := sweep.Layout(b.Dir).Ledger()
	data, err := os.ReadFile(path)
	check(t, err)
	data[len(data)/2] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
	if _, err := Write(context.Background(), io.Discard, options(b)); schemas.ClassOf(err) != schemas.Integrity {
		t.Errorf("got %v", err)
	}
}

func TestSchemasDescribeEveryField(t *testing.T) {
	for _, s := range schemaFiles() {
		data, err := describe(s.title, s.of)
		check(t, err)
		var got struct {
			Properties map[string]any
		}
		check(t, json.Unmarshal(data, &got))
		value, err := json.Marshal(s.of)
		check(t, err)
		var fields map[string]any
		check(t, json.Unmarshal(value, &fields))
		for name := range fields {
			if got.Properties[name] == nil {
				t.Errorf("%s does not describe %s", s.name, name)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	pack, err := os.ReadFile(filepath.Join("testdata", "v1.zip")) // the same in every process
	check(f, err)
	f.Add(pack)
	f.Add(pack[:len(pack)/2])
	f.Add(forge(f, testKey(1), unzip(f, pack), []string{ledgerName}, nil))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	o := pinned()
	o.ToolVersion = "later"
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Verify(context.Background(), bytes.NewReader(data), int64(len(data)), o)
		check(t, err)
		if r.Checks.Err() == nil && !bytes.Equal(data, pack) {
			t.Fatal("a pack passes that the pinned key has not signed")
		}
		if len(r.Checks) == 0 {
			t.Fatal("nothing was checked")
		}
	})
}

// FuzzContents puts made-up files into a pack that is signed with the right
// key, so that what is behind the signature is reached.
func FuzzContents(f *testing.F) {
	pack, err := os.ReadFile(filepath.Join("testdata", "v1.zip"))
	check(f, err)
	files := unzip(f, pack)
	var m schemas.EvidenceManifest
	check(f, json.Unmarshal(files[manifestName], &m))
	run := m.Runs[0].Run
	names := []string{ledgerName, batchesName(run), receiptsName(run), reportName(run)}
	f.Add(files[names[0]], files[names[1]], files[names[2]], files[names[3]])
	f.Add([]byte("{}\n"), []byte("{}\n"), []byte("{}"), []byte("{}"))
	f.Fuzz(func(t *testing.T, ledgerLines, batches, receipts, report []byte) {
		changed := unzip(t, pack)
		same := true
		for i, content := range [][]byte{ledgerLines, batches, receipts, report} {
			same = same && bytes.Equal(content, files[names[i]])
			changed[names[i]] = content
		}
		var order []string
		for _, e := range m.Entries {
			order = append(order, e.Name)
		}
		o := pinned()
		o.ToolVersion = "later"
		r := verifyBytes(t, forge(t, testKey(1), changed, order, nil), o)
		// The same figures may be spelled with other white space, but for the
		// ledger.
		exact := bytes.Equal(ledgerLines, files[names[0]])
		if passed := r.Checks.Err() == nil; passed && !exact || !passed && same {
			t.Fatalf("passed %v:\n%s", passed, strings.Join(failures(r), "\n"))
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	w, _ := workspace(b)
	data := mustWrite(b, options(w))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if r := verifyBytes(b, data, pinned()); r.Checks.Err() != nil {
			b.Fatal(failures(r))
		}
	}
}
