package wire

import (
	"context"
	"errors"
	"strings"

	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Unflag takes an id off the suppression list and clears its flags.
func Unflag(ctx context.Context, s System, job *config.Job, id schemas.ID, reason, ticket string, offList []string) (done schemas.Unflagged, err error) {
	if strings.TrimSpace(reason) == "" {
		return done, schemas.Errorf(schemas.Usage, "--reason is empty").WithHint("say why, without naming the person")
	}
	if err := errors.Join(sweep.CheckReason("--reason", reason), sweep.CheckReason("--ticket", ticket)); err != nil {
		return done, err
	}
	work := sweep.UnflagJob{ID: id, Rules: job.Rules(), Workers: workers(job), OffList: offList}
	stores, err := openTables(ctx, s, job)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	for i, t := range stores.list {
		work.Tables = append(work.Tables, sweep.ClearTable{Name: stores.names[i], Table: t})
	}
	me := s.owner(job)
	work.Act = schemas.Unflag{Reason: reason, Ticket: ticket, User: userName(), Host: me.Host, ToolVersion: Version()}
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, me)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()
	return workspace.Unflag(ctx, work)
}
