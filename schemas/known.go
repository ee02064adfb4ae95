package schemas

import "strings"

// KnownEvent tells whether this version knows what an event of the type means.
// A log with events that it does not know was written by a newer version: to
// read on could miss an opt-out, so nobody does.
//
// Only types that begin with "note_" are passed over: what they say, nobody
// needs to know who does not look for it. A version that adds another type
// makes its logs unreadable for older ones as soon as it writes one.
func KnownEvent(t EventType) bool {
	switch t {
	case EventWorkspaceCreated, EventRunStarted, EventRunResumed, EventRunAbandoned, EventPlanned, EventTableExtracted, EventExtracted,
		EventTableReapplied, EventChecked, EventSuppressionUpdated, EventLimitHit, EventLimitOverridden, EventTableApplied, EventUnitFailed,
		EventRunInterrupted, EventRunFinished,
		EventUnitExtracted, EventBatchAnswered, EventApplyIntent, EventUnitApplied, EventUnitSources,
		EventOwnListImported, EventOwnListRemoved, EventOwnListEdited, EventOwnLists, EventSourcesCounted, EventTableSources, EventTableHonoured,
		EventUnflagStarted, EventUnflagIntent, EventUnflagApplied, EventUnflagged,
		EventPurged, EventLedgerCut, EventSigningKey,
		EventScheduleSet, EventFiresDue, EventFireClaimed, EventFireStarted, EventFireWaiting, EventFireReleased, EventFireDone:
		return true
	}
	return strings.HasPrefix(string(t), "note_")
}
