// Package schemas holds the vocabulary that every other package shares:
// advertising ids and the reasons for refusing one, verdicts, units and their
// receipts, ledger events, the report, and error classes. It depends on the
// standard library only and does no I/O.
//
// Sources named in the comments: "operator" is the public IABTechLab
// uid2-operator, "shared" is uid2-shared, "docs" the EUID/UID2 documentation.
package schemas
