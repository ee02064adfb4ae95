// Package evidence writes and verifies evidence packs: one zip file that shows
// an auditor what runs found and did, signed, and without any id.
package evidence

import (
	"bufio"
	"context"
	"crypto/ed25519"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/signing"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Names in a pack.
const (
	readmeName    = "README.txt"
	ledgerName    = "ledger.ndjson"
	signerName    = "signer.pem"
	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
)

func reportName(run string) string   { return "runs/" + run + "/report.json" }
func batchesName(run string) string  { return "runs/" + run + "/batches.ndjson" }
func receiptsName(run string) string { return "runs/" + run + "/receipts.ndjson" }

//go:embed readme.txt
var readme []byte

// Options say what goes into a pack.
type Options struct {
	Dir         string // of the workspace
	Run         string // id of a run; empty: see Since
	Since       time.Time
	Until       time.Time // runs that started from Since until before Until; both zero: the last run that has ended
	Key         ed25519.PrivateKey
	ToolVersion string
}

func (o Options) period() bool { return !o.Since.IsZero() || !o.Until.IsZero() }

// reachesBehind tells whether the period begins before what retention has left
// of the ledger.
func (o Options) reachesBehind(cut *ledger.Cut) bool {
	return cut != nil && o.period() && !o.Since.After(cut.Until)
}

// Write writes an evidence pack. The same workspace and options give the same
// bytes. It needs no lease and changes nothing.
func Write(ctx context.Context, w io.Writer, o Options) (schemas.EvidenceManifest, error) {
	m := schemas.EvidenceManifest{Schema: schemas.EvidenceSchema, ToolVersion: o.ToolVersion, Signer: signing.Of(o.Key)}
	layout := sweep.Layout(o.Dir)
	runs, end, err := choose(ctx, layout.Ledger(), o)
	if err != nil {
		return m, err
	}
	m.Ledger.Head = end.Head
	if o.reachesBehind(end.Cut) {
		m.Ledger.RemovedUntil = end.Cut.Until
	}
	p := newPackWriter(w)
	if err := p.addBytes(readmeName, readme); err != nil {
		return m, err
	}
	if err := p.add(ledgerName, func(w io.Writer) error {
		m.Ledger.Before, m.Ledger.Last, err = copyLines(ctx, w, layout.Ledger(), runs)
		return err
	}); err != nil {
		return m, err
	}
	for _, r := range runs {
		run, err := addRun(ctx, p, layout, r)
		if err != nil {
			return m, fmt.Errorf("run %s: %w", r.ID, err)
		}
		m.Runs = append(m.Runs, run)
	}
	for _, s := range schemaFiles() {
		data, err := describe(s.title, s.of)
		if err != nil {
			return m, err
		}
		if err := p.addBytes(s.name, data); err != nil {
			return m, err
		}
	}
	return m, seal(p, &m, o.Key)
}

// choose finds the runs that the pack is about, in the order of their ids, and
// the end of the ledger.
func choose(ctx context.Context, path string, o Options) ([]ledger.Run, ledger.End, error) {
	var chosen []ledger.Run
	end, err := ledger.Runs(path, func(r ledger.Run) error {
		started := r.Events[0].Time
		switch {
		case o.Run != "":
			if r.ID == o.Run {
				chosen = append(chosen, r)
			}
		case !o.period():
			if r.Ended {
				chosen = []ledger.Run{r}
			}
		case !started.Before(o.Since) && (o.Until.IsZero() || started.Before(o.Until)):
			chosen = append(chosen, r)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, ledger.End{}, err
	}
	slices.SortFunc(chosen, func(a, b ledger.Run) int { return strings.Compare(a.ID, b.ID) })
	for _, r := range chosen {
		if !goodName.MatchString(r.ID) || strings.Contains(r.ID, "/") {
			return nil, ledger.End{}, schemas.Errorf(schemas.Integrity, "the ledger holds a run whose id is none")
		}
	}
	switch {
	case len(chosen) > 0:
		return chosen, end, nil
	case o.Run != "":
		return nil, end, sweep.NoSuchRun(o.Run, end)
	case o.reachesBehind(end.Cut):
		return nil, end, schemas.Errorf(schemas.Usage, "the ledger knows no run of that time: retention has removed all runs until %s", end.Cut.Until.Format(time.RFC3339)).
			WithHint("list those that are left with: optsweep runs")
	case o.period():
		return nil, end, schemas.Errorf(schemas.Usage, "no run was started in that time").WithHint("list them with: optsweep runs")
	default:
		return nil, end, schemas.Errorf(schemas.Usage, "no run has ended yet")
	}
}

// errEnough ends the reading of a ledger.
var errEnough = errors.New("enough")

// copyLines copies the lines of a ledger from the first to the last event of
// runs.
func copyLines(ctx context.Context, w io.Writer, path string, runs []ledger.Run) (before, last ledger.Head, err error) {
	from, to := runs[0].First(), runs[0].Last()
	for _, r := range runs[1:] {
		from, to = min(from, r.First()), max(to, r.Last())
	}
	_, err = ledger.ReadLines(path, func(l ledger.Line) error {
		seq := l.Event.Seq
		if seq < from {
			return ctx.Err()
		}
		if seq > to {
			return errEnough
		}
		if seq == from {
			before = ledger.Head{Seq: seq - 1, Hash: l.Event.Prev}
		}
		last = ledger.Head{Seq: seq, Hash: l.Hash}
		_, err := w.Write(l.Raw)
		return errors.Join(err, ctx.Err())
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && (last.Seq != to || before.Seq != from-1) {
		err = schemas.Errorf(schemas.Integrity, "%s has changed meanwhile", path)
	}
	return before, last, err
}

// addRun adds the files of one run, in the order of their names.
func addRun(ctx context.Context, p *packWriter, layout sweep.Layout, r ledger.Run) (schemas.EvidenceRun, error) {
	run := schemas.EvidenceRun{Run: r.ID, Ended: r.Ended}
	rep, err := report.Of(r.ID, r.Events, r.Ended)
	if err != nil {
		return run, err
	}
	batches, err := readBatches(ctx, layout.Run(r.ID, sweep.CheckJournal), rep.IDs)
	if err != nil {
		return run, err
	}
	if len(batches) > 0 {
		run.Batches = batchesName(r.ID)
		if err := p.add(run.Batches, lines(batches)); err != nil {
			return run, err
		}
	}
	receipts, err := receiptsOf(r)
	if err != nil {
		return run, err
	}
	if err := p.add(receiptsName(r.ID), lines(receipts)); err != nil {
		return run, err
	}
	data, err := report.Marshal(rep)
	if err != nil {
		return run, err
	}
	return run, p.addBytes(reportName(r.ID), data)
}

func receiptsOf(r ledger.Run) ([]schemas.Receipt, error) {
	var all []schemas.Receipt
	for _, e := range r.Events {
		if e.Type != schemas.EventTableApplied && e.Type != schemas.EventTableReapplied {
			continue
		}
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return nil, fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
		}
		all = append(all, v.Receipts...)
	}
	return all, nil
}

// lines writes one JSON value a line.
func lines[T any](values []T) func(io.Writer) error {
	return func(w io.Writer) error {
		out := bufio.NewWriter(w)
		enc := json.NewEncoder(out)
		for _, v := range values {
			if err := enc.Encode(v); err != nil {
				return err
			}
		}
		return out.Flush()
	}
}

// readBatches takes the digests out of a check journal. There are none if the
// check was not finished, or if retention has removed the journal.
func readBatches(ctx context.Context, path string, c schemas.Checked) ([]schemas.EvidenceBatch, error) {
	if c.Batches == 0 {
		return nil, nil
	}
	var all []schemas.EvidenceBatch
	end, err := ledger.ReadLines(path, func(l ledger.Line) error {
		b, err := sweep.ReadBatch(l.Event)
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", path, l.Event.Seq, err)
		}
		all = append(all, schemas.EvidenceBatch{
			Seq: l.Event.Seq, Batch: b.Batch, Count: b.Count, Digest: b.Digest, AsOfMS: b.AsOfMS, Line: l.Hash,
		})
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && end.Hash != c.Journal {
		err = schemas.Errorf(schemas.Integrity, "%s is not the journal that the ledger knows", path).
			WithHint("find out what was changed with: optsweep verify")
	}
	return all, err
}

// seal adds the signer's public key, the manifest and its signature.
func seal(p *packWriter, m *schemas.EvidenceManifest, key ed25519.PrivateKey) error {
	public, err := signing.PublicPEM(key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	if err := p.addBytes(signerName, public); err != nil {
		return err
	}
	m.Entries = p.entries
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := p.addBytes(manifestName, data); err != nil {
		return err
	}
	if err := p.addBytes(signatureName, ed25519.Sign(key, data)); err != nil {
		return err
	}
	return p.close()
}
