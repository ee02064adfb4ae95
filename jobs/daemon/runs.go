package daemon

import (
	"encoding/json"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// position is the number of the last event of a workspace's ledger.
func position(workspace string) (int64, error) {
	end, err := ledger.Read(sweep.Layout(workspace).Ledger(), nil)
	return end.Seq, err
}

// endedSince finds a run of the job that was started or taken up after event
// seq of the workspace's ledger, and has ended: finished, or stopped by a
// limit, which it would be again.
func endedSince(workspace, job string, seq int64) (run string, ended schemas.RunEnded, found bool, err error) {
	ofJob, since := map[string]bool{}, map[string]bool{}
	_, err = ledger.Read(sweep.Layout(workspace).Ledger(), func(e schemas.Event) error {
		switch e.Type {
		case schemas.EventRunStarted:
			var v schemas.RunStarted
			if err := json.Unmarshal(e.Data, &v); err != nil {
				return err
			}
			ofJob[e.Run] = v.Job == job && !v.DryRun && !v.Offline
			since[e.Run] = ofJob[e.Run] && e.Seq > seq
		case schemas.EventRunResumed:
			since[e.Run] = ofJob[e.Run] && e.Seq > seq
			if e.Run == run {
				found = false
			}
		case schemas.EventRunFinished, schemas.EventRunInterrupted:
			if !since[e.Run] {
				return nil
			}
			var v schemas.RunEnded
			if err := json.Unmarshal(e.Data, &v); err != nil {
				return err
			}
			if e.Type == schemas.EventRunFinished || v.Status == schemas.StatusStopped {
				run, ended, found = e.Run, v, true
			}
		}
		return nil
	})
	return run, ended, found && err == nil, err
}
