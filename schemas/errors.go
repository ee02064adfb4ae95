package schemas

import (
	"errors"
	"fmt"
)

// Class is what a failure means to whoever started the program. The command
// line maps each class to one exit code.
type Class uint8

// Classes, from the least to the most specific cause.
const (
	Failed    Class = iota // anything without a class of its own
	Usage                  // wrong flags or configuration
	Partial                // some tables or units are not reconciled
	Refused                // the operator refused: auth, scope, clock, canary
	Integrity              // an answer that is not authentic, complete or as asked
	Locked                 // another run holds the lease
	Limit                  // a safety limit stopped the run
	Gate                   // a gate or objective is not met
	Cancelled              // a signal or the caller
)

func (c Class) String() string {
	return [...]string{"failed", "usage", "partial", "refused", "integrity", "locked", "limit", "gate", "cancelled"}[c]
}

// Error is a failure with a class and, where one is known, a hint that says
// what to do next. Neither text ever holds an id, a key or a secret.
type Error struct {
	Class Class
	Msg   string // what happened, lower case, no full stop
	Hint  string // what to do about it; may be empty
	Err   error  // the cause; may be nil
}

// Errorf makes an Error; %w sets its cause.
func Errorf(class Class, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns a copy that says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf finds the class of err: of the outermost Error in its chain, or
// Failed.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Failed
}

// HintOf finds the first hint in the chain of err.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
