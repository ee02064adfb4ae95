package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"optsweep/schemas"
)

// Canary is an id whose verdict is known beforehand. It is named by its line
// alone, since an id must not be shown.
type Canary struct {
	ID             schemas.ID
	ExpectOptedOut bool
	Line           int // of the file it comes from, from 1
}

// maxNamed bounds how many lines one error names.
const maxNamed = 10

func enumerate(items []string) string {
	if more := len(items) - maxNamed; more > 0 {
		items = append(slices.Clip(items[:maxNamed]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(items, "; ")
}

// CheckCanaries asks the canaries and returns a schemas.Refused error that
// names the lines of those with another verdict than expected. A wrong host,
// scope, environment or key shows here as "clear" where "opted out" was
// expected, and nowhere else.
func CheckCanaries(ctx context.Context, checker interface {
	Check(ctx context.Context, ids []schemas.ID) (schemas.Answer, error)
}, canaries []Canary) error {
	var wrong []string
	for part := range slices.Chunk(canaries, MaxBatch) {
		ids := make([]schemas.ID, len(part))
		for i, canary := range part {
			ids[i] = canary.ID
		}
		answer, err := checker.Check(ctx, ids)
		if err != nil {
			return err
		}
		verdicts := make(map[schemas.ID]string, len(answer.OptedOut)+len(answer.Rejected))
		for _, r := range answer.Rejected {
			verdicts[r.ID] = string(r.Reason)
		}
		for _, o := range answer.OptedOut {
			verdicts[o.ID] = "opted_out"
		}
		for _, canary := range part {
			want, got := "clear", "clear"
			if canary.ExpectOptedOut {
				want = "opted_out"
			}
			if verdict, ok := verdicts[canary.ID]; ok {
				got = verdict
			}
			if got != want {
				wrong = append(wrong, fmt.Sprintf("line %d is %s, expected %s", canary.Line, got, want))
			}
		}
	}
	if len(wrong) > 0 {
		refused := schemas.Errorf(schemas.Refused, "canaries have other verdicts than expected: %s", enumerate(wrong)).
			WithHint("opted-out canaries that come back clear mean a wrong host, scope, environment or key; nothing was written")
		refused.Err = ErrCanary
		return refused
	}
	return nil
}

// ErrCanary is the cause of an error about canaries with another verdict than
// expected.
var ErrCanary = errors.New("canary failed")
