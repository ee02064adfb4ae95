// Package embedded answers opt-out status from opt-out logs that the deployer
// holds: in process through a Checker, and over HTTP through a Server that
// speaks the protocol of POST /v2/optout/status.
//
// It is not an accredited Private Operator: the official logs are released to
// attested enclaves only. It may serve logs that its deployer lawfully has,
// such as those captured from the DSP opt-out webhook. It has no salts, so it
// cannot answer for an email address or a phone number.
//
// # Where the Server differs from the public operator, on purpose
//
// Beside the differences of package optoutlog (sentinels are never opted out,
// the earliest time of an id counts, v4 ids are recovered, damaged log files
// are refused):
//
//   - Without a loaded opt-out log it answers 503 instead of "nobody has opted
//     out".
//   - /ops/healthcheck is 503 with the reason also while an older state is
//     served because the log folder or the clients file cannot be read.
//   - Only /v2/optout/status, /ops/healthcheck, /metrics and the path of the
//     intake exist. Health and metrics share the port, and have no auth.
//   - JSON nested deeper than 1,000 levels is invalid.
//   - A request that does not arrive within the read timeout loses its
//     connection.
package embedded
