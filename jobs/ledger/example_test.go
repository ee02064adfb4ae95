package ledger_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// What is appended can be read again; what was changed since is found out.
func Example() {
	dir, err := os.MkdirTemp("", "ledger-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ledger.ndjson")
	now := func() time.Time { return time.Date(2026, 3, 4, 4, 0, 0, 0, time.UTC) }
	chain, err := ledger.Create(durable.Disk{}, path, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, note := range []string{"first", "second"} {
		if _, err := chain.Append("run-1", schemas.EventPurged, note); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := chain.Close(); err != nil {
		fmt.Println(err)
		return
	}
	_, err = ledger.Read(path, func(e schemas.Event) error {
		fmt.Printf("%d %s %s\n", e.Seq, e.Run, e.Data)
		return nil
	})
	fmt.Println(err)

	data, _ := os.ReadFile(path)
	_ = os.WriteFile(path, bytes.Replace(data, []byte("first"), []byte("fresh"), 1), 0o600)
	_, err = ledger.Read(path, nil)
	fmt.Println(schemas.ClassOf(err))
	// Output:
	// 1 run-1 "first"
	// 2 run-1 "second"
	// <nil>
	// integrity
}
