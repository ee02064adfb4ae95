package cli

import (
	"fmt"
	"strings"

	"optsweep/schemas"
)

// exitCodes is the one table of exit codes. 0 means that every table was
// reconciled and every law held.
var exitCodes = [...]struct {
	class schemas.Class
	code  int
	means string
}{
	{schemas.Failed, 1, "failed; nothing is half-written, the same command goes on"},
	{schemas.Integrity, 1, ""},
	{schemas.Usage, 2, "wrong usage or configuration"},
	{schemas.Partial, 3, "partial: some tables or units are not reconciled"},
	{schemas.Refused, 4, "the operator refused: key, secret, scope, clock or canary"},
	{schemas.Locked, 5, "locked: another run holds the workspace or the API key"},
	{schemas.Limit, 6, "stopped by a safety limit"},
	{schemas.Gate, 7, "a gate or an objective (--slo) is not met"},
	{schemas.Cancelled, 130, "cancelled; the same command goes on"},
}

func exitCode(err error) int {
	class := schemas.ClassOf(err)
	for _, e := range exitCodes {
		if e.class == class {
			return e.code
		}
	}
	return 1
}

func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n    0  reconciled\n")
	for _, e := range exitCodes {
		if e.means != "" {
			fmt.Fprintf(&b, "  %3d  %s\n", e.code, e.means)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
