package sweep

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// Layout is the folder of a workspace, for those who read what runs have left
// there without opening the workspace.
type Layout string

// Names in the folder of a run.
const (
	PlanFile       = planFile
	ReportFile     = reportFile
	ExtractJournal = extractLog
	CheckJournal   = checkLog
	ReapplyJournal = reapplyLog
	ApplyJournal   = applyLog
	ShardsDir      = shardsDir
	QuarantineDir  = quarantineDir
)

// Ledger is the path of the ledger.
func (l Layout) Ledger() string { return filepath.Join(string(l), ledgerFile) }

// Identity is the path of the file that makes the folder a workspace.
func (l Layout) Identity() string { return filepath.Join(string(l), workspaceFile) }

// Head is the path of the file that keeps the ledger's head.
func (l Layout) Head() string { return filepath.Join(string(l), ledger.HeadFile) }

// EvidenceKey is the path of the key that signs evidence packs.
func (l Layout) EvidenceKey() string { return filepath.Join(string(l), evidenceFile) }

// PseudonymKey is the path of the key of the pseudonyms.
func (l Layout) PseudonymKey() string { return filepath.Join(string(l), keyFile) }

// Runs is the folder of the runs' folders.
func (l Layout) Runs() string { return filepath.Join(string(l), runsDir) }

// Run is a path in the folder of a run.
func (l Layout) Run(run string, name ...string) string {
	return filepath.Join(append([]string{l.Runs(), run}, name...)...)
}

// Check tells whether the folder is a workspace that this version can read.
func (l Layout) Check() error {
	_, err := readIdentity(string(l))
	return err
}

// Batch is what the check journal holds of one batch, without the ids.
type Batch struct {
	Batch    int64 // from 0
	Count    int
	Digest   string // SHA-256 of the batch's ids
	AsOfMS   int64
	OptedOut int
	Rejected int
}

// ReadBatch reads an event of a check journal.
func ReadBatch(e schemas.Event) (Batch, error) {
	a, err := decodeAnswered(e)
	return Batch{
		Batch: a.Batch, Count: a.Count, Digest: a.Digest, AsOfMS: a.AsOfMS, OptedOut: a.OptedOut.count(), Rejected: len(a.Rejected),
	}, err
}

// ReadUnit reads an event of an extract journal: the number of a unit in the
// run's plan, and what was counted in it.
func ReadUnit(e schemas.Event) (index int, counts idset.Counts, err error) {
	d, err := decodeExtracted(e)
	return d.Index, d.Counts, err
}

// QuarantineFile is where the cells of unit number index that are no ids are
// listed, in the folder of the run.
func QuarantineFile(index int) string {
	return filepath.Join(quarantineDir, fmt.Sprintf("%06d.csv", index))
}

// RejectedFile is where the ids that an operator gave no verdict on are listed,
// in the folder of the run.
func RejectedFile() string { return filepath.Join(quarantineDir, "operator.csv") }

// PlannedUnits reads the units of a run from its plan, and the digest by which
// the ledger knows it.
func PlannedUnits(path string) (units []schemas.Unit, digest string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	var p planned
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return p.Units, digestOfBytes(data), nil
}

func digestOfBytes(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// RemovedRun tells whether a run of that id would have been among those whose
// events a cut has removed from the ledger.
func RemovedRun(run string, cut *ledger.Cut) bool {
	started, err := time.Parse(runIDLayout, run)
	return err == nil && cut != nil && !started.After(cut.Until)
}

// NoSuchRun is the error for a run that a ledger, read to its end, does not
// hold.
func NoSuchRun(run string, end ledger.End) error {
	err := schemas.Errorf(schemas.Usage, "the ledger knows no run %s", run)
	if RemovedRun(run, end.Cut) {
		err = schemas.Errorf(schemas.Usage, "the ledger knows no run %s any more: at %s retention removed all runs until %s",
			run, end.Cut.At.Format(time.RFC3339), end.Cut.Until.Format(time.RFC3339))
	}
	return err.WithHint("list them with: optsweep runs")
}
