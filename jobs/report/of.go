package report

import "optsweep/schemas"

// Of is Build for a run that may still be under way. Unless the last thing
// that is known of it says otherwise, it is then interrupted: whether its
// process lives, the ledger does not tell.
func Of(run string, events []schemas.Event, ended bool) (schemas.Report, error) {
	b, err := of(run, events, ended)
	if err != nil {
		return schemas.Report{}, err
	}
	return b.report, nil
}

func of(run string, events []schemas.Event, ended bool) (*builder, error) {
	b, err := fold(run, events)
	if err == nil && !ended && events[len(events)-1].Type != schemas.EventRunInterrupted {
		b.report.Status = schemas.StatusInterrupted
	}
	return b, err
}
