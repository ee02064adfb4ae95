// Package runtables makes the rows of the run tables out of what a run has
// left in its workspace, which it neither changes nor needs a lease for. The
// same workspace gives the same rows.
//
// Rows of runs and tables follow from the ledger alone, which is kept for
// ever. Those of batches, quarantine and opt-outs come from files that
// retention removes; where it has, there are no rows, and a note says so.
package runtables
