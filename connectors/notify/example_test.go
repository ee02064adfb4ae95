package notify_test

import (
	"fmt"
	"time"

	"optsweep/connectors/notify"
	"optsweep/schemas"
)

// A receiver in Go takes a message only from one who knows the secret, and only
// for a while.
func ExampleVerify() {
	secret, body := schemas.NewSecret("shared"), []byte(`{"event":"failed"}`)
	sent := time.Date(2026, 3, 4, 4, 0, 0, 0, time.UTC)
	header := notify.Sign(secret, sent, body) // what arrives as X-Optsweep-Signature
	fmt.Println(notify.Verify(secret, header, body, sent.Add(time.Minute), 5*time.Minute))
	fmt.Println(notify.Verify(secret, header, []byte(`{"event":"canary"}`), sent, 5*time.Minute) != nil)
	fmt.Println(notify.Verify(secret, header, body, sent.Add(time.Hour), 5*time.Minute) != nil)
	// Output:
	// <nil>
	// true
	// true
}
