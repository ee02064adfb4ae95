package operator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"optsweep/connectors/operator"
	"optsweep/schemas"
)

type checker func([]schemas.ID) (schemas.Answer, error)

func (c checker) Check(_ context.Context, ids []schemas.ID) (schemas.Answer, error) { return c(ids) }

func TestCheckCanaries(t *testing.T) {
	ids := makeIDs(4)
	canaries := []operator.Canary{{ids[0], true, 2}, {ids[1], false, 3}, {ids[2], true, 5}}
	answer := func(optedOut ...schemas.ID) checker {
		return func([]schemas.ID) (a schemas.Answer, err error) {
			for _, id := range optedOut {
				a.OptedOut = append(a.OptedOut, schemas.OptOut{ID: id, SinceMS: since})
			}
			return a, nil
		}
	}
	down := errors.New("down")
	for name, tc := range map[string]struct {
		checker checker
		want    string
	}{
		"as expected": {answer(ids[0], ids[2]), ""},
		"nobody":      {answer(), "line 2 is clear, expected opted_out; line 5 is clear, expected opted_out"},
		"everybody":   {answer(ids...), "line 3 is opted_out, expected clear"},
		"check fails": {func([]schemas.ID) (schemas.Answer, error) { return schemas.Answer{}, down }, "down"},
		"one is refused": {func([]schemas.ID) (schemas.Answer, error) {
			a, _ := answer(ids[0], ids[2])(nil)
			a.Rejected = []schemas.Rejection{{ID: ids[1], Reason: schemas.OperatorRejected}}
			return a, nil
		}, "line 3 is operator_rejected, expected clear"},
	} {
		t.Run(name, func(t *testing.T) {
			err := operator.CheckCanaries(t.Context(), tc.checker, canaries)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !strings.HasSuffix(fmt.Sprint(err), tc.want) {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if !errors.Is(err, down) && schemas.ClassOf(err) != schemas.Refused {
				t.Errorf("class %v", schemas.ClassOf(err))
			}
		})
	}
	many := make([]operator.Canary, 30)
	for i := range many {
		many[i] = operator.Canary{ID: ids[0], ExpectOptedOut: true, Line: i + 2}
	}
	if err := operator.CheckCanaries(t.Context(), answer(), many); !strings.HasSuffix(fmt.Sprint(err), "; and 20 more") {
		t.Error(err)
	}
	if err := operator.CheckCanaries(t.Context(), checker(nil), nil); err != nil {
		t.Error(err)
	}
}
