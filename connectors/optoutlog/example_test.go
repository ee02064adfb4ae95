package optoutlog_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
)

// A log file is written, loaded and asked. Of two times of one id the earlier
// one counts.
func Example() {
	dir, err := os.MkdirTemp("", "optout-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	id := func(n byte) schemas.ID {
		id, _ := schemas.FromRaw(append(make([]byte, 31), n))
		return id
	}
	begin := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	if _, err := optoutlog.Write(optoutlog.WriterOptions{Dir: dir, Start: begin, End: begin.Add(time.Hour)}, []optoutlog.Entry{
		optoutlog.NewEntry(id(1), begin.Unix()+60), // seconds
		optoutlog.NewEntry(id(1), begin.Unix()+30),
	}); err != nil {
		fmt.Println(err)
		return
	}
	store := optoutlog.New(optoutlog.Options{Dir: dir})
	if err := store.Load(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range []byte{1, 2} {
		sinceMS, ok := store.Snapshot().Since(id(n)) // milliseconds
		if !ok {
			fmt.Println("not listed")
			continue
		}
		fmt.Println("opted out since", time.UnixMilli(sinceMS).UTC().Format(time.DateTime))
	}
	// Output:
	// opted out since 2026-03-04 00:00:30
	// not listed
}
