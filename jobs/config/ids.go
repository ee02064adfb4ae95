package config

import (
	"bytes"
	"slices"

	"optsweep/schemas"
)

// refuseIDs reports the lines that hold what looks like an id, a key or a
// secret: the names in a job file come back in reports and in the ledger.
func (r *reader) refuseIDs(data []byte) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if bytes.Equal(schemas.HideIDs(text), text) ||
			slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Line == line }) {
			continue
		}
		value{r: r, line: line, column: 1}.fail("something that looks like an advertising id, a key or a secret stands here",
			"remove it: what a job file says is shown in reports and in the ledger")
	}
}
