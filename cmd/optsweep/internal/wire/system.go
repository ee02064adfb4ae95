// Package wire is the composition root: the only place that knows both the
// jobs and the connectors. It builds what a command needs out of a validated
// job file, proves that the connectors fit the seams, and holds no logic of
// its own.
package wire

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"runtime/debug"
	"time"

	"optsweep/jobs/config"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Progress is told how far a phase has come.
type Progress = sweep.Progress

// System is what the process lends to a command.
type System struct {
	LookupEnv func(string) (string, bool)
	Log       *slog.Logger
	Progress  Progress
	Now       func() time.Time

	Metrics     *Metrics                  // of a process that goes on after a run; may be nil
	Undelivered func(schemas.Undelivered) // is told which messages about a run did not arrive; may be nil

	memory *memory // shared by runs side by side; nil: there is one run
}

// owner says to other processes who holds a lease.
func (s System) owner(job *config.Job) ledger.Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return ledger.Owner{PID: os.Getpid(), Host: host, Since: s.Now(), Job: job.Name, Tool: Version()}
}

// userName says who started the program, for the ledger.
func userName() string {
	me, err := user.Current()
	if err != nil {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return me.Username
}

// CreateWorkspace makes the job's workspace.
func CreateWorkspace(s System, job *config.Job) error {
	return sweep.CreateWorkspace(durable.Disk{}, job.Workspace, s.Now)
}

// stamp is the version that a release build sets with the linker's -X, because
// it is built without the repository's state, so that anybody gets its bytes.
var stamp string

// Version is the version that this binary was built from.
func Version() string {
	if stamp != "" {
		return stamp
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				version += "-" + s.Value[:12]
			}
		}
	}
	return version
}
