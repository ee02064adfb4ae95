package cli

import (
	"bytes"
	"io"

	"optsweep/schemas"
)

// masked is the last line of defence of what must not be shown: whatever looks
// like an id, an e-mail address or an API key does not pass. None comes from
// our own code; but an id that was typed as an argument, or put into a job file,
// would come back in the error that complains about it.
type masked struct {
	w    io.Writer
	rest []byte // an unfinished line
}

// Write passes on whole lines.
func (m *masked) Write(b []byte) (int, error) {
	m.rest = append(m.rest, b...)
	end := bytes.LastIndexByte(m.rest, '\n') + 1
	lines := m.rest[:end]
	m.rest = bytes.Clone(m.rest[end:])
	if len(lines) == 0 {
		return len(b), nil
	}
	_, err := m.w.Write(schemas.Hide(lines))
	return len(b), err
}

// flush passes on what is left.
func (m *masked) flush() error {
	if len(m.rest) == 0 {
		return nil
	}
	_, err := m.w.Write(schemas.Hide(m.rest))
	m.rest = nil
	return err
}
