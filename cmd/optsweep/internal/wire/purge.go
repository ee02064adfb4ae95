package wire

import (
	"context"
	"errors"

	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Purge applies retention to the job's workspace.
func Purge(ctx context.Context, s System, job *config.Job, r sweep.Retention) (p schemas.PurgeResult, err error) {
	me := s.owner(job)
	r.User, r.Host = userName(), me.Host
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, me)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return workspace.Purge(ctx, r)
}
