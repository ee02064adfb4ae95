package wire

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/connectors/optoutlog"
	"optsweep/jobs/config"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// The types that the command line prints or fills in.
type (
	KeyOptions    = embedded.KeyOptions
	ImportOptions = optoutlog.ImportOptions
	ImportFormat  = optoutlog.Format
	ImportUnit    = optoutlog.TimeUnit
	ImportResult  = optoutlog.ImportResult
	Inspection    = optoutlog.Inspection
	Finding       = operator.Finding
)

// FindingFailed is the status of a finding that must be mended.
const FindingFailed = operator.Fail

// NewOperatorKey makes an API key and its client secret, writes each into a
// new file of mode 0600, and adds the record to the clients file. It returns
// the printable name of the key.
func NewOperatorKey(o KeyOptions, clients, keyFile, secretFile string) (name string, err error) {
	for _, path := range []string{keyFile, secretFile} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return "", schemas.Errorf(schemas.Usage, "%s exists already", path).
				WithHint("name new files with --key-file and --secret-file")
		}
	}
	key, secret, record, err := embedded.NewKey(o)
	if err != nil {
		return "", err
	}
	var disk durable.Disk
	if err := disk.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := disk.WriteFile(secretFile, []byte(secret.Reveal()+"\n"), 0o600); err != nil {
		return "", err
	}
	return record.KeyID, embedded.AddClient(disk, clients, record)
}

// ImportOptOuts turns a list of opt-outs into a file of the opt-out log in
// dir, which is made if it is not there.
func ImportOptOuts(ctx context.Context, s System, dir string, o ImportOptions) (ImportResult, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ImportResult{}, err
	}
	o.Writer.Dir = dir
	o.Now = s.Now
	return optoutlog.Import(ctx, o)
}

// InspectOptOutLog tells what a log file or folder holds.
func InspectOptOutLog(ctx context.Context, path string) (Inspection, error) {
	return optoutlog.Inspect(ctx, path)
}

// doctorOperator finds out whether the job's operator can be asked.
func doctorOperator(ctx context.Context, s System, job *config.Job) []Finding {
	if job.Operator.Kind != config.Embedded {
		return operator.Doctor(ctx, operatorOptions(s, job))
	}
	f := Finding{Name: "opt-out log", Status: operator.OK, Detail: "loaded"}
	if a, err := newEmbedded(ctx, s, job); err != nil {
		f = Finding{Name: f.Name, Status: operator.Fail, Detail: err.Error(), Fix: schemas.HintOf(err)}
	} else {
		a.close()
	}
	return []Finding{f}
}
