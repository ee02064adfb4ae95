package audit

import (
	"path/filepath"

	"optsweep/jobs/daemon"
	"optsweep/jobs/ledger"
)

// schedules verifies the logs of fires. They are chains of their own, without
// a head: lines that are cut off from the end are not found out.
func (a *auditor) schedules() error {
	paths, err := filepath.Glob(daemon.Log(escaped(a.opts.Dir), "*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		end, err := ledger.Read(path, nil)
		if err != nil {
			a.fail("schedule", "", path, "%s", explain(path, err))
			continue
		}
		a.ok("schedule", "", path, "%d events, each follows from the one before", end.Seq)
	}
	return nil
}

// escaped takes the meaning from the special characters of a pattern.
func escaped(dir string) string {
	var b []byte
	for _, c := range []byte(dir) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}
