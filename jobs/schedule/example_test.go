package schedule_test

import (
	"fmt"
	"time"

	"optsweep/jobs/schedule"
)

// On the night the clock is put forward, 02:30 runs at 03:00.
func ExampleSpec_Next() {
	spec, err := schedule.Parse("30 2 * * *", "Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	at := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	for range 3 {
		at = spec.Next(at)
		fmt.Println(at.In(spec.Zone).Format("Mon 2006-01-02 15:04 MST"))
	}
	// Output:
	// Sat 2026-03-28 02:30 CET
	// Sun 2026-03-29 03:00 CEST
	// Mon 2026-03-30 02:30 CEST
}
