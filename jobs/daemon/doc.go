// Package daemon runs jobs on their schedules. What becomes of every fire is
// kept in the job's workspace, in a hash-chained log of its own, before
// anything is done about it:
//
//	fires_due (claimed, queued or skipped, with the reason)
//	  -> fire_started (before each attempt) -> fire_waiting | fire_released
//	  -> fire_done (with the status of the run)
//
// A daemon that starts finds there what the one before has left: a fire that
// was claimed and is not done is taken up again, unless the workspace's ledger
// says that its run has finished since. One process at a time holds the log of
// a job; another one that wants it waits, and takes over when the first ends.
package daemon
