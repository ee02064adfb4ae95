package evidence

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"optsweep/jobs/audit"
	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/signing"
	"optsweep/schemas"
)

// VerifyOptions say how a pack is verified.
type VerifyOptions struct {
	Fingerprint string // of the key whose signature is expected; empty: any
	ToolVersion string // of this program
}

// Result is what was found in a pack.
type Result struct {
	Signer schemas.SigningKey    `json:"signer"`
	Pinned bool                  `json:"pinned"` // the signer is the one that was expected
	Runs   []schemas.EvidenceRun `json:"runs"`
	Ledger schemas.LedgerExtract `json:"ledger"`
	Checks audit.Checks          `json:"checks"`
}

// verifier is one verification under way.
type verifier struct {
	Result
	ctx      context.Context
	opts     VerifyOptions
	pack     *pack
	manifest schemas.EvidenceManifest
}

// Verify verifies a pack of size bytes. It needs nothing but the pack, trusts
// nothing in it, and unpacks nothing. The error is for a verification that was
// given up; see Checks.Err for what it found.
func Verify(ctx context.Context, src io.ReaderAt, size int64, o VerifyOptions) (Result, error) {
	v := &verifier{ctx: ctx, opts: o, Result: Result{Runs: []schemas.EvidenceRun{}, Checks: audit.Checks{}}}
	v.verify(src, size)
	return v.Result, ctx.Err()
}

func (v *verifier) ok(what, run, file, format string, args ...any) {
	v.Checks.Add(audit.OK, what, run, file, format, args...)
}

func (v *verifier) fail(what, run, file, format string, args ...any) {
	v.Checks.Add(audit.Failed, what, run, file, format, args...)
}

func (v *verifier) verify(src io.ReaderAt, size int64) {
	var err error
	if v.pack, err = openPack(src, size); err != nil {
		v.fail("pack", "", "", "%v", err)
		return
	}
	if err := v.pack.canonical(v.ctx); err != nil {
		v.fail("pack", "", "", "%v", err)
	} else {
		v.ok("pack", "", "", "%d files, and not one byte besides", len(v.pack.files))
	}
	if !v.signature() {
		return
	}
	v.entries()
	v.extract()
}

// signature checks the manifest and who signed it.
func (v *verifier) signature() bool {
	data, err := v.pack.read(manifestName, maxManifest)
	if err != nil {
		v.fail("manifest", "", manifestName, "%v", err)
		return false
	}
	if err := json.Unmarshal(data, &v.manifest); err != nil || v.manifest.Schema != schemas.EvidenceSchema {
		v.fail("manifest", "", manifestName, "it is not the manifest of an evidence pack that this version of optsweep can read")
		return false
	}
	m := v.manifest
	for _, run := range m.Runs {
		if !goodName.MatchString(run.Run) {
			v.fail("manifest", "", manifestName, "the id of a run is none")
			return false
		}
	}
	v.Runs, v.Ledger = m.Runs, m.Ledger
	public, err := signing.Public(m.Signer)
	if err != nil {
		v.fail("signature", "", manifestName, "the signer is %v", err)
		return false
	}
	v.Signer = m.Signer
	signature, err := v.pack.read(signatureName, ed25519.SignatureSize)
	switch {
	case err != nil:
		v.fail("signature", "", signatureName, "%v", err)
	case len(signature) != ed25519.SignatureSize || !ed25519.Verify(public, data, signature):
		v.fail("signature", "", signatureName, "it does not fit the manifest: one of them was changed")
	default:
		v.ok("signature", "", signatureName, "the manifest is signed with key %s", signing.Show(m.Signer))
	}
	switch v.opts.Fingerprint {
	case "":
		v.Checks.Add(audit.Note, "signer", "", manifestName,
			"not pinned: the key came with the pack, so anybody could have made both; compare its fingerprint with the one that you were given, or give that with --public-key")
	case m.Signer.Fingerprint:
		v.Pinned = true
		v.ok("signer", "", manifestName, "it is the key that was expected")
	default:
		v.fail("signer", "", manifestName, "signed with key %s, expected was sha256:%s", signing.Show(m.Signer), v.opts.Fingerprint)
	}
	return true
}

// entries compares every file with the manifest.
func (v *verifier) entries() {
	listed := v.manifest.Entries
	if len(v.pack.files) != len(listed)+2 {
		v.fail("files", "", manifestName, "it lists %d files, the pack has %d besides manifest and signature", len(listed), len(v.pack.files)-2)
	}
	bad := 0
	for i, e := range listed {
		if err := v.entry(i, e); err != nil {
			bad++
			v.fail("files", "", e.Name, "%v", err)
		}
	}
	if bad == 0 {
		v.ok("files", "", manifestName, "%d files have the SHA-256 that it lists", len(listed))
	}
	public, err := signing.Public(v.manifest.Signer)
	if err != nil {
		return // said before
	}
	want, err := signing.PublicPEM(public)
	have, readErr := v.pack.read(signerName, uint64(len(want)))
	if err != nil || readErr != nil || string(have) != string(want) {
		v.fail("signer", "", signerName, "it is not the key in the manifest")
	}
}

// entry checks file number i of the pack.
func (v *verifier) entry(i int, e schemas.EvidenceEntry) error {
	if i >= len(v.pack.files) || v.pack.files[i].Name != e.Name {
		if v.pack.file(e.Name) == nil {
			return errMissing
		}
		return errors.New("it is not where the manifest lists it")
	}
	r, err := v.pack.open(e.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, &cancelable{v.ctx, r})
	switch {
	case err != nil:
		return errors.New("it was changed or damaged")
	case n != e.Bytes || hex.EncodeToString(sum.Sum(nil)) != e.SHA256:
		return errors.New("it is not the file that the manifest lists")
	}
	return nil
}

type cancelable struct {
	ctx context.Context
	src io.Reader
}

func (c *cancelable) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.src.Read(b)
}

// extract checks the chain of the ledger's lines and every run in it.
func (v *verifier) extract() {
	const what = "ledger"
	r, err := v.pack.open(ledgerName)
	if err != nil {
		v.fail(what, "", ledgerName, "%v", err)
		return
	}
	defer r.Close()
	wanted := map[string]schemas.EvidenceRun{}
	for _, run := range v.manifest.Runs {
		if _, twice := wanted[run.Run]; twice {
			v.fail(what, run.Run, manifestName, "it lists the run twice")
		}
		wanted[run.Run] = run
	}
	others := 0
	runs := ledger.Grouper{Each: func(r ledger.Run) error {
		run, ok := wanted[r.ID]
		delete(wanted, r.ID)
		if ok {
			v.run(run, r)
		} else {
			others++
		}
		return nil
	}}
	extract := v.manifest.Ledger
	end, err := ledger.Scan(ledgerName, &cancelable{v.ctx, r}, extract.Before, func(l ledger.Line) error { return runs.Add(l.Event) })
	if err == nil {
		err = runs.Finish()
	}
	switch {
	case err != nil:
		v.fail(what, "", ledgerName, "%v", err)
	case end.Torn || end.Head != extract.Last:
		v.fail(what, "", ledgerName, "it ends with event %d, which is not the last one that the manifest names", end.Seq)
	case extract.Head.Seq < extract.Last.Seq || extract.Head.Seq == extract.Last.Seq && extract.Head != extract.Last:
		v.fail(what, "", manifestName, "the head of the ledger is not behind the extract")
	default:
		v.ok(what, "", ledgerName, "events %d to %d of %d, each follows from the one before", extract.Before.Seq+1, end.Seq, extract.Head.Seq)
	}
	if at := extract.RemovedUntil; !at.IsZero() {
		v.Checks.Add(audit.Note, what, "", manifestName, "runs until %s had been removed by retention when the pack was made: those of its period are not in it", at.Format(time.RFC3339))
	}
	for run := range wanted {
		v.fail(what, run, ledgerName, "it has no such run")
	}
	if others > 0 {
		v.Checks.Add(audit.Note, what, "", ledgerName, "it also holds %d other runs, which the pack does not report on", others)
	}
}

// run compares the files of a run with what the extract gives.
func (v *verifier) run(run schemas.EvidenceRun, r ledger.Run) {
	rep, err := report.Of(r.ID, r.Events, r.Ended)
	if err == nil && r.Ended != run.Ended {
		err = errors.New("the manifest and the ledger differ on whether it has ended")
	}
	if err != nil {
		v.fail("ledger", run.Run, ledgerName, "%v", err)
		return
	}
	v.Checks.Laws(rep, ledgerName)
	name := reportName(run.Run)
	stored, err := v.pack.read(name, maxReport)
	if err == nil {
		err = report.Compare(stored, rep, v.manifest.ToolVersion == v.opts.ToolVersion)
	}
	if err != nil {
		v.fail("report", run.Run, name, "%v", err)
	} else {
		v.ok("report", run.Run, name, "it is what the ledger gives")
	}
	v.receipts(run, r)
	v.batches(run, rep.IDs)
}

// receipts compares receipts.ndjson with the ledger.
func (v *verifier) receipts(run schemas.EvidenceRun, r ledger.Run) {
	name := receiptsName(run.Run)
	want, err := receiptsOf(r)
	if err != nil {
		v.fail("receipts", run.Run, ledgerName, "%v", err)
		return
	}
	n := 0
	err = eachLine(v.pack, name, func(got schemas.Receipt) error {
		if n >= len(want) || got != want[n] {
			return fmt.Errorf("line %d is not the receipt in the ledger", n+1)
		}
		n++
		return v.ctx.Err()
	})
	if err == nil && n < len(want) {
		err = fmt.Errorf("it has %d receipts, the ledger %d", n, len(want))
	}
	if err != nil {
		v.fail("receipts", run.Run, name, "%v", err)
		return
	}
	v.ok("receipts", run.Run, name, "%d receipts, the same as in the ledger", n)
}

// batches compares batches.ndjson with what the ledger counts.
func (v *verifier) batches(run schemas.EvidenceRun, c schemas.Checked) {
	const what = "batches"
	name := batchesName(run.Run)
	if run.Batches == "" {
		if c.Batches > 0 {
			v.Checks.Add(audit.Gone, what, run.Run, "", "removed by retention before the pack was made")
		}
		return
	}
	var n, ids int64
	last := ""
	seen := map[int64]bool{}
	err := eachLine(v.pack, name, func(b schemas.EvidenceBatch) error {
		n++
		if b.Seq != n || b.Batch < 0 || b.Batch >= c.Batches || seen[b.Batch] || b.Count <= 0 {
			return fmt.Errorf("line %d is out of place", n)
		}
		seen[b.Batch] = true
		ids += int64(b.Count)
		last = b.Line
		return v.ctx.Err()
	})
	switch {
	case err != nil:
		v.fail(what, run.Run, name, "%v", err)
	case n != c.Batches || ids != c.Asked:
		v.fail(what, run.Run, name, "it has %d batches with %d ids, the ledger counts %d with %d", n, ids, c.Batches, c.Asked)
	case last != c.Journal:
		v.fail(what, run.Run, name, "it does not end with the line that the ledger knows")
	default:
		v.ok(what, run.Run, name, "%d batches with %d ids, as many as in the ledger", n, ids)
	}
}

// eachLine reads a file of one JSON value a line.
func eachLine[T any](p *pack, name string, each func(T) error) error {
	r, err := p.open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	d := json.NewDecoder(r)
	for n := 1; ; n++ {
		var value T
		err := d.Decode(&value)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("value %d is damaged", n)
		}
		if err := each(value); err != nil {
			return err
		}
	}
}
