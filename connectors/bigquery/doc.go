// Package bigquery is a table of BigQuery: it reads the distinct advertising
// ids of a table, view or query and writes opt-outs back, as a column, as a
// table of suppressed ids with views, or by removing rows.
//
// A run stages the distinct ids of each unit once, by a query into a table of
// optsweep's own that expires; everything else follows from that snapshot.
// Every job that changes anything has an id that follows from the run, the unit
// and the content: whoever does it again adopts what was done.
//
// Errors of class Limit, Refused and Integrity are as in schemas; all others
// are of class Failed and leave the customer's table as it was or as it was
// meant to be.
//
// Heavy dependencies: cloud.google.com/go/bigquery for REST, its storage
// packages for the Storage APIs, arrow v17 to decode what they send and to
// write the Parquet files that are loaded.
package bigquery
