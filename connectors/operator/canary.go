package operator

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"optsweep/schemas"
)

// Canary is an id whose verdict is known beforehand. It is named by its line
// alone, since an id must not be shown.
type Canary struct {
	ID             schemas.ID
	ExpectOptedOut bool
	Line           int // in the file it comes from, from 1
}

// maxNamed bounds how many lines one error names.
const maxNamed = 10

// ReadCanaries reads CSV with two fields, an advertising id and "opted_out" or
// "clear". Empty lines, lines that start with # and a first line "id,expected"
// are passed over. Errors are of class schemas.Usage and name all bad lines.
func ReadCanaries(r io.Reader, rules schemas.Rules) ([]Canary, error) {
	records := csv.NewReader(r)
	records.Comment = '#'
	records.FieldsPerRecord = -1
	records.TrimLeadingSpace = true
	var canaries []Canary
	var bad []string
	for first := true; ; first = false {
		fields, err := records.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, schemas.Errorf(schemas.Usage, "canaries: %w", err)
		}
		if first && fields[0] == "id" {
			continue
		}
		line, _ := records.FieldPos(0)
		canary, problem := parseCanary(fields, rules)
		if problem != "" {
			bad = append(bad, fmt.Sprintf("line %d: %s", line, problem))
			continue
		}
		canary.Line = line
		canaries = append(canaries, canary)
	}
	if len(bad) > 0 {
		return nil, schemas.Errorf(schemas.Usage, "canaries: %s", enumerate(bad)).
			WithHint("each line is an id, a comma, and opted_out or clear")
	}
	return canaries, nil
}

func parseCanary(fields []string, rules schemas.Rules) (canary Canary, problem string) {
	if len(fields) != 2 {
		return Canary{}, fmt.Sprintf("%d fields, not 2", len(fields))
	}
	id, _, reason := rules.Parse([]byte(fields[0]))
	if reason != schemas.Valid {
		return Canary{}, "the id is " + string(reason)
	}
	switch strings.TrimSpace(fields[1]) {
	case "opted_out":
		return Canary{ID: id, ExpectOptedOut: true}, ""
	case "clear":
		return Canary{ID: id}, ""
	}
	return Canary{}, "expected verdict is neither opted_out nor clear"
}

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
		return schemas.Errorf(schemas.Refused, "canaries have other verdicts than expected: %s", enumerate(wrong)).
			WithHint("opted-out canaries that come back clear mean a wrong host, scope, environment or key; nothing was written")
	}
	return nil
}
