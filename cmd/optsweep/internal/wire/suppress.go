package wire

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"optsweep/connectors/optoutlog"
	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// SuppressImport says which file of opt-outs goes into which own list.
type SuppressImport struct {
	Source, Basis string
	Path          string
	Format        ImportFormat
	IDColumn      string
	TimeColumn    string // empty: Since
	Unit          ImportUnit
	Since         time.Time
	Override      bool // let it past max_quarantined
}

// ImportSuppression merges a file into an own list of the job's workspace.
// again tells that the same file was imported before.
func ImportSuppression(ctx context.Context, s System, job *config.Job, o SuppressImport) (done schemas.OwnListImported, again bool, err error) {
	rows := optoutlog.RowOptions{
		Path: o.Path, Format: o.Format, IDColumn: o.IDColumn, TimeColumn: o.TimeColumn, Unit: o.Unit, Since: o.Since, Rules: job.Rules(), Now: s.Now(),
	}
	if err := errors.Join(sweep.OwnImport{Source: o.Source, Basis: o.Basis}.Check(), rows.Check()); err != nil {
		return done, false, err
	}
	digest, err := fileDigest(o.Path)
	if err != nil {
		return done, false, err
	}
	me := s.owner(job)
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, me)
	if err != nil {
		return done, false, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return workspace.ImportOwn(ctx, sweep.OwnImport{
		Source: o.Source, Basis: o.Basis, FileDigest: digest, Reading: readingDigest(rows), User: userName(), Host: me.Host, Tool: Version(),
		MaxBad: float64(job.Limits.MaxQuarantined) / 100, Override: o.Override, Now: s.Now,
		Read: func(ctx context.Context, valid func(schemas.ID, int64) error, bad func(int64, schemas.Reason, []byte) error) error {
			if _, err := optoutlog.ReadRows(ctx, rows, func(id schemas.ID, second int64) error { return valid(id, second*1000) }, bad); err != nil {
				return err
			}
			after, err := fileDigest(o.Path)
			if err == nil && after != digest {
				err = schemas.Errorf(schemas.Failed, "%s changed while it was read", o.Path).WithHint("import it again when no other program writes to it")
			}
			return err
		},
	})
}

// fileDigest is the SHA-256 of a file, as sha256sum prints it.
func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", schemas.Errorf(schemas.Usage, "%w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readingDigest names how a file is read.
func readingDigest(o optoutlog.RowOptions) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q", o.Format, o.IDColumn, o.TimeColumn, o.Unit, o.Since.UTC().Format(time.RFC3339), o.Rules))
	return hex.EncodeToString(sum[:])
}

// ListSuppression lists the own lists in force. It needs no lease.
func ListSuppression(job *config.Job) ([]schemas.OwnList, error) {
	return sweep.Layout(job.Workspace).OwnLists()
}

// RemoveSuppression gives up an own list. It clears no flag.
func RemoveSuppression(s System, job *config.Job, source, reason, ticket string) (done schemas.OwnListRemoved, again bool, err error) {
	if strings.TrimSpace(reason) == "" {
		return done, false, schemas.Errorf(schemas.Usage, "--reason is empty").WithHint("say why, without naming a person")
	}
	if err := errors.Join(sweep.CheckReason("--reason", reason), sweep.CheckReason("--ticket", ticket)); err != nil {
		return done, false, err
	}
	me := s.owner(job)
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, me)
	if err != nil {
		return done, false, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return workspace.RemoveOwn(sweep.OwnRemoval{Source: source, Reason: reason, Ticket: ticket, User: userName(), Host: me.Host, Tool: Version()})
}
