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

var euidRules = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Integration}

const (
	canaryA = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	canaryB = "FCEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9A"
)

func TestReadCanaries(t *testing.T) {
	got, err := operator.ReadCanaries(strings.NewReader("id,expected\n# known since May\n\n"+canaryA+",opted_out\r\n "+canaryB+" , clear \n"), euidRules)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Line != 4 || !got[0].ExpectOptedOut || text(got[0].ID) != canaryA ||
		got[1].Line != 5 || got[1].ExpectOptedOut || text(got[1].ID) != canaryB {
		t.Errorf("%+v", got)
	}
	if got, err := operator.ReadCanaries(strings.NewReader(""), euidRules); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReadCanariesNamesEveryBadLine(t *testing.T) {
	file := canaryA + ",opted_out\n" + // fine
		"me@example.com,clear\n" +
		canaryA + "\n" +
		canaryA + ",yes\n" +
		"A" + canaryA[1:] + ",clear\n"
	_, err := operator.ReadCanaries(strings.NewReader(file), euidRules)
	if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
		t.Fatal(err)
	}
	want := "canaries: line 2: the id is looks_like_email; line 3: 1 fields, not 2; line 4: expected verdict is neither opted_out nor clear; line 5: the id is wrong_scope"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if _, err := operator.ReadCanaries(strings.NewReader("\"open\n"), euidRules); schemas.ClassOf(err) != schemas.Usage {
		t.Error(err)
	}
	_, err = operator.ReadCanaries(strings.NewReader(strings.Repeat("x\n", 50)), euidRules)
	if !strings.HasSuffix(err.Error(), "; and 40 more") {
		t.Error(err)
	}
}

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
	if err := operator.CheckCanaries(t.Context(), checker(nil), nil); err != nil {
		t.Error(err)
	}
}

func FuzzReadCanaries(f *testing.F) {
	f.Add("id,expected\n" + canaryA + ",opted_out\n" + canaryB + ",clear\n")
	f.Add("#\n\n\"" + canaryA + "\",\"clear\"")
	f.Add("a,b,c\n\"")
	f.Fuzz(func(t *testing.T, file string) {
		canaries, err := operator.ReadCanaries(strings.NewReader(file), euidRules)
		if err != nil && (canaries != nil || schemas.ClassOf(err) != schemas.Usage) {
			t.Fatal("an error with a result or without a class")
		}
		for _, c := range canaries {
			if c.Line < 1 || c.Line > strings.Count(file, "\n")+1+strings.Count(file, "\r") || !strings.Contains(file, text(c.ID)) {
				t.Fatal("a canary that is not in the file")
			}
		}
	})
}
