// Package bqfake is a BigQuery in memory that fails as it is told. Only tests
// import it.
//
// It serves REST and the Storage Read API on the loopback. It does not parse
// SQL: it knows the statements that package bigquery makes for tables with one
// plain id column, by their text, and refuses all others. In return it does
// what the emulator cannot: jobs that take their time, fail or are cancelled,
// ids of jobs that are taken, ETags, bytes billed and their bound, rows
// affected, row-level security, streaming buffers, and requests that fail
// before or after they had their effect.
//
// Its tables hold rows that a test can change at any moment, also while a
// request is under way: see Server.On.
package bqfake
