package evidence

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/signing"
	"optsweep/schemas"
)

// forge makes a pack out of changed files, with a manifest that fits them, as
// somebody with a key of their own could.
func forge(t testing.TB, key ed25519.PrivateKey, files map[string][]byte, order []string, change func(*schemas.EvidenceManifest)) []byte {
	t.Helper()
	var m schemas.EvidenceManifest
	check(t, json.Unmarshal(files[manifestName], &m))
	m.Signer = signing.Of(key)
	var buf bytes.Buffer
	p := newPackWriter(&buf)
	for _, name := range order {
		if name != signerName && name != manifestName && name != signatureName {
			check(t, p.addBytes(name, files[name]))
		}
	}
	if change != nil {
		change(&m)
	}
	check(t, seal(p, &m, key))
	return buf.Bytes()
}

// A pack that was changed and signed anew by the right key still has to add
// up, and what is wrong is named.
func TestForgedPacks(t *testing.T) {
	b, runs := workspace(t)
	o := options(b)
	o.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	data := mustWrite(t, o)
	names := func() (order []string) {
		r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		check(t, err)
		for _, f := range r.File {
			order = append(order, f.Name)
		}
		return order
	}
	without := func(order []string, name string) (rest []string) {
		for _, n := range order {
			if n != name {
				rest = append(rest, n)
			}
		}
		return rest
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	firstLine := func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }
	cutLast := func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }
	for name, c := range map[string]struct {
		file   string
		edit   func([]byte) []byte // nil: the file is left out
		change func(*schemas.EvidenceManifest)
		want   string // start of a failure
	}{
		"report changed":     {reportName(runs[0]), replace(`"opted_out": 9`, `"opted_out": 8`), nil, "report | " + runs[0] + " | " + reportName(runs[0])},
		"report of other":    {reportName(runs[0]), func([]byte) []byte { return unzip(t, data)[reportName(runs[1])] }, nil, "report | " + runs[0]},
		"report left out":    {reportName(runs[1]), nil, nil, "report | " + runs[1] + " | " + reportName(runs[1]) + " | it is missing"},
		"report no JSON":     {reportName(runs[0]), func([]byte) []byte { return []byte("[") }, nil, "report | " + runs[0]},
		"receipt changed":    {receiptsName(runs[0]), replace(`"rows_new":`, `"rows_new":1`), nil, "receipts | " + runs[0] + " | " + receiptsName(runs[0])},
		"receipt cut":        {receiptsName(runs[0]), cutLast, nil, "receipts | " + runs[0]},
		"receipts left out":  {receiptsName(runs[0]), nil, nil, "receipts | " + runs[0]},
		"batch count":        {batchesName(runs[0]), replace(`"count":10`, `"count":11`), nil, "batches | " + runs[0] + " | " + batchesName(runs[0])},
		"batch removed":      {batchesName(runs[0]), firstLine, nil, "batches | " + runs[0]},
		"batch cut":          {batchesName(runs[0]), cutLast, nil, "batches | " + runs[0]},
		"batches of other":   {batchesName(runs[0]), func([]byte) []byte { return unzip(t, data)[batchesName(runs[1])] }, nil, "batches | " + runs[0]},
		"batches left out":   {batchesName(runs[0]), nil, nil, "batches | " + runs[0]},
		"ledger changed":     {ledgerName, replace(`"opted_out":9`, `"opted_out":8`), nil, "ledger |  | ledger.ndjson | ledger.ndjson: line "},
		"ledger first gone":  {ledgerName, firstLine, nil, "ledger |  | ledger.ndjson"},
		"ledger last gone":   {ledgerName, cutLast, nil, "ledger |  | ledger.ndjson | it ends with event"},
		"ledger torn":        {ledgerName, func(b []byte) []byte { return b[:len(b)-5] }, nil, "ledger |  | ledger.ndjson | it ends with event"},
		"ledger left out":    {ledgerName, nil, nil, "ledger |  | ledger.ndjson | it is missing"},
		"ledger emptied":     {ledgerName, func([]byte) []byte { return nil }, nil, "ledger | "},
		"key changed":        {"", nil, func(m *schemas.EvidenceManifest) { m.Signer = signing.Of(testKey(3)) }, "signature | "},
		"no key":             {"", nil, func(m *schemas.EvidenceManifest) { m.Signer.PublicKey = "00" }, "signature | "},
		"unknown run":        {"", nil, func(m *schemas.EvidenceManifest) { m.Runs[0].Run = "x" }, "ledger | x | "},
		"run twice":          {"", nil, func(m *schemas.EvidenceManifest) { m.Runs = append(m.Runs, m.Runs[0]) }, "ledger | "},
		"run id with dots":   {"", nil, func(m *schemas.EvidenceManifest) { m.Runs[0].Run = "../\x1b[2J" }, "manifest | "},
		"said to have ended": {"", nil, func(m *schemas.EvidenceManifest) { m.Runs[2].Ended = true }, "ledger | " + runs[2]},
		"head behind":        {"", nil, func(m *schemas.EvidenceManifest) { m.Ledger.Head.Seq = 1 }, "ledger |  | manifest.json"},
		"other schema":       {"", nil, func(m *schemas.EvidenceManifest) { m.Schema = "optsweep.evidence.v2" }, "manifest | "},
	} {
		t.Run(name, func(t *testing.T) {
			files, order := unzip(t, data), names()
			if c.edit != nil {
				edited := c.edit(files[c.file])
				if bytes.Equal(edited, files[c.file]) {
					t.Fatal("nothing was edited")
				}
				files[c.file] = edited
			} else if c.file != "" {
				order = without(order, c.file)
			}
			r := verifyBytes(t, forge(t, testKey(1), files, order, c.change), VerifyOptions{})
			lines := strings.Join(failures(r), "\n")
			if !strings.Contains("\n"+lines, "\n"+c.want) {
				t.Errorf("want %q, got:\n%s", c.want, lines)
			}
			if strings.ContainsRune(lines, '\x1b') {
				t.Error("control characters are shown")
			}
		})
	}
}

// Made anew with another key a pack is whole; only pinning tells.
func TestOnlyPinningTellsWhoSigned(t *testing.T) {
	b, _ := workspace(t)
	o := options(b)
	o.Key = testKey(9)
	data := mustWrite(t, o)
	mustBeWhole(t, verifyBytes(t, data, VerifyOptions{}))
	if verifyBytes(t, data, pinned()).Checks.Err() == nil {
		t.Error("signed by another key")
	}
}

// The manifest names files that the pack does not hold as listed.
func TestFilesThatDoNotFitTheManifest(t *testing.T) {
	b, _ := workspace(t)
	files := unzip(t, mustWrite(t, options(b)))
	build := func(order []string) []byte {
		var buf bytes.Buffer
		p := newPackWriter(&buf)
		for _, name := range order {
			check(t, p.addBytes(name, files[name]))
		}
		check(t, p.close())
		return buf.Bytes()
	}
	var m schemas.EvidenceManifest
	check(t, json.Unmarshal(files[manifestName], &m))
	var order []string
	for _, e := range m.Entries {
		order = append(order, e.Name)
	}
	order = append(order, manifestName, signatureName)
	mustBeWhole(t, verifyBytes(t, build(order), VerifyOptions{}))
	files["extra.txt"] = []byte("x")
	swapped := append([]string{order[1], order[0]}, order[2:]...)
	for name, c := range map[string]struct {
		order []string
		want  string
	}{
		"one more":      {append([]string{"extra.txt"}, order...), "files | "},
		"one less":      {order[1:], "files |  | README.txt | it is missing"},
		"another order": {swapped, "files | "},
		"no manifest":   {order[:len(order)-2], "manifest | "},
		"no signature":  {order[:len(order)-1], "signature | "},
	} {
		lines := strings.Join(failures(verifyBytes(t, build(c.order), VerifyOptions{})), "\n")
		if !strings.Contains(lines, c.want) {
			t.Errorf("%s: %q", name, lines)
		}
	}
	files[readmeName] = []byte("changed")
	if lines := failures(verifyBytes(t, build(order), VerifyOptions{})); len(lines) != 1 || !strings.HasPrefix(lines[0], "files |  | README.txt") {
		t.Errorf("%q", lines)
	}
}

func TestHostileZips(t *testing.T) {
	make := func(build func(*zip.Writer) error) []byte {
		var buf bytes.Buffer
		w := zip.NewWriter(&buf)
		check(t, build(w))
		check(t, w.Close())
		return buf.Bytes()
	}
	add := func(w *zip.Writer, h zip.FileHeader, content []byte) error {
		f, err := w.CreateHeader(&h)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return err
	}
	b, _ := workspace(t)
	whole := mustWrite(t, options(b))
	bigDirectory := bytes.Clone(whole)
	copy(bigDirectory[len(bigDirectory)-10:], []byte{0xff, 0xff, 0xff, 0xff})
	for name, data := range map[string][]byte{
		"empty":    {},
		"no zip":   []byte(strings.Repeat("optsweep ", 100)),
		"no files": make(func(*zip.Writer) error { return nil }),
		"bomb": make(func(w *zip.Writer) error {
			return add(w, zip.FileHeader{Name: manifestName, Method: zip.Deflate}, bytes.Repeat([]byte{0}, 1<<20))
		}),
		"traversal": make(func(w *zip.Writer) error { return add(w, zip.FileHeader{Name: "../../etc/passwd"}, nil) }),
		"absolute":  make(func(w *zip.Writer) error { return add(w, zip.FileHeader{Name: "/etc/passwd"}, nil) }),
		"escape":    make(func(w *zip.Writer) error { return add(w, zip.FileHeader{Name: "a\x1b[2J"}, nil) }),
		"twice": make(func(w *zip.Writer) error {
			return errors.Join(add(w, zip.FileHeader{Name: "a"}, nil), add(w, zip.FileHeader{Name: "a"}, []byte("b")))
		}),
		"comment":          make(func(w *zip.Writer) error { return w.SetComment("hidden") }),
		"directory length": bigDirectory,
	} {
		r := verifyBytes(t, data, VerifyOptions{})
		if r.Checks.Err() == nil {
			t.Errorf("%s: taken for a pack", name)
		}
		for _, line := range failures(r) {
			if strings.ContainsRune(line, '\x1b') {
				t.Errorf("%s: control characters are shown", name)
			}
		}
	}
}
