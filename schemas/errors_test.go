package schemas

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestClassAndHint(t *testing.T) {
	inner := Errorf(Refused, "operator: %w", io.ErrUnexpectedEOF).WithHint("check %s", "the key")
	cases := []struct {
		name  string
		err   error
		class Class
		hint  string
		text  string
	}{
		{"none", nil, Failed, "", ""},
		{"plain", io.EOF, Failed, "", "EOF"},
		{"with a class", Errorf(Locked, "held by %d", 7), Locked, "", "held by 7"},
		{"with a hint", inner, Refused, "check the key", "operator: unexpected EOF"},
		{"wrapped by fmt", fmt.Errorf("run: %w", inner), Refused, "check the key", "run: operator: unexpected EOF"},
		{"joined", errors.Join(io.EOF, inner), Refused, "check the key", "EOF\noperator: unexpected EOF"},
		{"the outer class counts", Errorf(Partial, "1 of 2: %w", inner), Partial, "check the key", "1 of 2: operator: unexpected EOF"},
		{"the outer hint counts", Errorf(Partial, "1 of 2: %w", inner).WithHint("run again"), Partial, "run again", "1 of 2: operator: unexpected EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := ClassOf(c.err); got != c.class {
				t.Errorf("class %s, want %s", got, c.class)
			}
			if got := HintOf(c.err); got != c.hint {
				t.Errorf("hint %q, want %q", got, c.hint)
			}
			if c.err != nil && c.err.Error() != c.text {
				t.Errorf("text %q, want %q", c.err, c.text)
			}
		})
	}
	if !errors.Is(inner, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if bare := Errorf(Refused, "x"); bare.WithHint("y").Hint == bare.Hint {
		t.Error("WithHint changes the original or nothing")
	}
}

func TestClassNames(t *testing.T) {
	seen := make(map[string]bool)
	for c := Failed; c <= Cancelled; c++ {
		if name := c.String(); name == "" || seen[name] {
			t.Errorf("class %d is called %q", c, name)
		}
		seen[c.String()] = true
	}
}
