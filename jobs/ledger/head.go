package ledger

import (
	"bytes"
	"encoding/json"
	"os"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// HeadFile is the usual name of a file that holds a Head.
const HeadFile = "ledger.head"

// Head is the last event of a log, for the time being. A log alone cannot tell
// that its last lines were cut off; a head that was kept elsewhere can.
type Head = schemas.LedgerPosition

// WriteHead keeps a head at path.
func WriteHead(disk durable.Disk, path string, h Head) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return disk.WriteFile(path, append(data, '\n'), 0o600)
}

// ReadHead reads what WriteHead has written. Anything else is an error of class
// Integrity.
func ReadHead(path string) (Head, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Head{}, err
	}
	var h Head
	err = json.Unmarshal(data, &h)
	again, marshalErr := json.Marshal(h)
	if err != nil || marshalErr != nil || !bytes.Equal(append(again, '\n'), data) || h.Seq < 0 {
		return Head{}, schemas.Errorf(schemas.Integrity, "%s holds no head of a ledger", path).
			WithHint("restore it from a copy of the workspace")
	}
	return h, nil
}

func cutOff(path string, end, known Head) error {
	return schemas.Errorf(schemas.Integrity, "%s was cut off: it ends with event %d, but it had event %d", path, end.Seq, known.Seq).
		WithHint("restore it from a copy of the workspace; nothing was written to it")
}

func rewritten(path string, known Head) error {
	return schemas.Errorf(schemas.Integrity, "%s was rewritten: its event %d is not the one that was recorded", path, known.Seq).
		WithHint("restore it from a copy of the workspace; nothing was written to it")
}

func tooOld(path string, begin, known Head) error {
	return schemas.Errorf(schemas.Integrity, "%s does not fit its recorded head: retention has removed its events up to %d, and the head is event %d", path, begin.Seq, known.Seq).
		WithHint("restore both from one copy of the workspace; nothing was written to it")
}
