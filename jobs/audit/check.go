package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"optsweep/schemas"
)

// Status is how a check came out.
type Status string

// Outcomes. Only Failed makes a verification fail.
const (
	OK     Status = "ok"
	Failed Status = "FAILED" // changed, missing, or figures that do not add up
	Gone   Status = "gone"   // removed by retention, so that it cannot be checked any more
	Note   Status = "note"   // worth knowing
)

// Check is one thing that was looked at. It holds no ids.
type Check struct {
	Status Status `json:"status"`
	What   string `json:"what"`           // for example "check journal"
	Run    string `json:"run,omitempty"`  // empty: of the workspace or pack as a whole
	File   string `json:"file,omitempty"` // within the workspace or pack, with slashes
	Detail string `json:"detail"`
}

// Checks is what a verification found, in the order of the checks.
type Checks []Check

// Add takes down how a check came out.
func (c *Checks) Add(status Status, what, run, file, format string, args ...any) {
	*c = append(*c, Check{Status: status, What: what, Run: run, File: file, Detail: plain(fmt.Sprintf(format, args...))})
}

// plain takes out what could drive a terminal: details may quote a file that
// somebody has made up.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Count is how many checks came out as status.
func (c Checks) Count(status Status) (n int) {
	for _, x := range c {
		if x.Status == status {
			n++
		}
	}
	return n
}

// Err is nil unless a check failed; then it has class Integrity.
func (c Checks) Err() error {
	switch n := c.Count(Failed); n {
	case 0:
		return nil
	case 1:
		return schemas.Errorf(schemas.Integrity, "1 of %d checks failed", len(c)).WithHint("%s", hint)
	default:
		return schemas.Errorf(schemas.Integrity, "%d of %d checks failed", n, len(c)).WithHint("%s", hint)
	}
}

const hint = "compare what is named as FAILED with a copy from before; what was changed proves nothing any more"

// explain says what an error of reading the file at path means.
func explain(path string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "it is missing"
	}
	return strings.TrimPrefix(err.Error(), path+": ")
}
