package wire

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"optsweep/jobs/audit"
	"optsweep/jobs/config"
	"optsweep/jobs/evidence"
	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/signing"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Reports builds the report of every run of a workspace out of its ledger, in
// the order in which they ended. It works while a run is under way. The end of
// the ledger tells whether retention has removed earlier runs.
func Reports(dir string, each func(schemas.Report) error) (ledger.End, error) {
	layout := sweep.Layout(dir)
	if err := layout.Check(); err != nil {
		return ledger.End{}, err
	}
	return ledger.Runs(layout.Ledger(), func(r ledger.Run) error {
		rep, err := report.Of(r.ID, r.Events, r.Ended)
		if err != nil {
			return err
		}
		return each(rep)
	})
}

// VerifyWorkspace checks all that runs have left in a workspace. With a job it
// also looks at the job's tables, for units that have changed since.
func VerifyWorkspace(ctx context.Context, s System, dir string, job *config.Job) (audit.Result, error) {
	o := audit.Options{Dir: dir, ToolVersion: Version(), Now: s.Now}
	if job != nil {
		stores, err := openTables(ctx, s, job)
		if err != nil {
			return audit.Result{}, err
		}
		defer func() { _ = stores.close() }()
		o.Version = func(ctx context.Context, u schemas.Unit) (string, error) {
			source, ok := stores.source(u.Table)
			if !ok {
				return "", errors.New("the job has no such table")
			}
			return source.Version(ctx, u)
		}
	}
	return audit.Workspace(ctx, o)
}

// Signer is the key that signs the evidence packs of a workspace, as its
// ledger knows it. It is zero if there is none yet.
func Signer(dir string) (schemas.SigningKey, error) { return sweep.Layout(dir).Signer() }

// EvidenceOptions say what goes into an evidence pack; see evidence.Options.
type EvidenceOptions struct {
	Run          string
	Since, Until time.Time
	KeyFile      string // private key to sign with; empty: that of the workspace
}

// MakeEvidence writes an evidence pack to the file out. Only for a workspace
// that has no key yet it needs the lease.
func MakeEvidence(ctx context.Context, s System, dir, out string, o EvidenceOptions) (schemas.EvidenceManifest, error) {
	if err := sweep.Layout(dir).Check(); err != nil {
		return schemas.EvidenceManifest{}, err
	}
	key, err := evidenceKey(s, dir, o.KeyFile)
	if err != nil {
		return schemas.EvidenceManifest{}, err
	}
	f, err := durable.Disk{}.Create(out, 0o644)
	if err != nil {
		return schemas.EvidenceManifest{}, err
	}
	defer f.Discard()
	m, err := evidence.Write(ctx, f, evidence.Options{
		Dir: dir, Run: o.Run, Since: o.Since, Until: o.Until, Key: key, ToolVersion: Version(),
	})
	if err != nil {
		return m, err
	}
	return m, f.Publish()
}

func evidenceKey(s System, dir, file string) (ed25519.PrivateKey, error) {
	if file != "" {
		return signing.Load(file)
	}
	layout := sweep.Layout(dir)
	known, err := layout.Signer()
	if err != nil {
		return nil, err
	}
	if key, err := signing.Load(layout.EvidenceKey()); err == nil && signing.Of(key) == known {
		return key, nil
	}
	w, err := sweep.OpenWorkspace(durable.Disk{}, dir, s.Now, s.owner(&config.Job{Name: "evidence"}))
	if err != nil {
		return nil, err
	}
	key, err := w.SigningKey()
	return key, errors.Join(err, w.Close())
}

// VerifyPack verifies an evidence pack. pin says whose signature is expected,
// see signing.ParsePin; empty: anybody's.
func VerifyPack(ctx context.Context, path, pin string) (evidence.Result, error) {
	o := evidence.VerifyOptions{ToolVersion: Version()}
	if pin != "" {
		var err error
		if o.Fingerprint, err = signing.ParsePin(pin); err != nil {
			return evidence.Result{}, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return evidence.Result{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return evidence.Result{}, err
	}
	if !info.Mode().IsRegular() {
		return evidence.Result{}, schemas.Errorf(schemas.Usage, "%s is not a file", path)
	}
	return evidence.Verify(ctx, f, info.Size(), o)
}

// WriteWhole puts what write writes into the file at path, whole or not at all.
func WriteWhole(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return schemas.Errorf(schemas.Usage, "there is no folder %s", filepath.Dir(path))
	}
	f, err := durable.Disk{}.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Publish()
}
