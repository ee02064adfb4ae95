// Package bqtest runs the tests of BigQuery against an emulator. Only tests
// import it.
//
// The emulator is a program of a module of its own (testdata/bigquery-emulator),
// so that its dependencies stay out of the product. It is built once, kept in
// the user's cache folder, and started as a subprocess: a request that it
// cannot take may end it, and must not end the test binary.
//
// In front of it stand two proxies on the loopback, one for the REST API and
// one for the Storage Read and Write APIs. They answer as BigQuery does where
// the emulator does not, so that the product's client needs no branch for
// tests; each workaround names the deviation that it mends. Tests install
// hooks in the REST proxy to make requests fail.
//
// What the proxies do not mend, and no test may rely on: affected rows,
// statement types, bytes, statistics of load jobs, cancelling, WRITE_EMPTY,
// ROLLBACK, ALTER TABLE and other changes of a schema, CREATE TABLE IF NOT
// EXISTS, PARTITION BY and CLUSTER BY in SQL (the API keeps both), expiration,
// access control, ETags, insert ids, uploads of more than 16 MiB. Tables in
// SQL need full names: without a dataset, the emulator takes the first table
// of that name in any dataset. MERGE wants a table as its source. Joins are
// nested loops: 3,000 rows by 300 take two seconds.
package bqtest

import (
	"context"
)

// T is what the helpers need of a test; testing.TB has it all.
type T interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}
