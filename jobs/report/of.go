package report

import "optsweep/schemas"

// Of is Build for a run that may still be under way. Unless the last thing
// that is known of it says otherwise, it is then interrupted: whether its
// process lives, the ledger does not tell.
func Of(run string, events []schemas.Event, ended bool) (schemas.Report, error) {
	rep, err := Build(run, events)
	if err == nil && !ended && events[len(events)-1].Type != schemas.EventRunInterrupted {
		rep.Status = schemas.StatusInterrupted
	}
	return rep, err
}
