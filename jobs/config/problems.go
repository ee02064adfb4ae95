package config

import (
	"fmt"
	"slices"
	"strings"

	"optsweep/schemas"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int    // from 1; Column is 0 where only the line is known
	Key          string // such as "tables[0].parquet.path"; may be empty
	Msg          string // what is wrong
	Hint         string // what to do about it; may be empty
}

func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:", p.File, p.Line)
	if p.Column > 0 {
		fmt.Fprintf(&b, "%d:", p.Column)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, " %s:", p.Key)
	}
	fmt.Fprintf(&b, " %s", p.Msg)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (%s)", p.Hint)
	}
	return b.String()
}

// Problems is the error for a file with at least one problem, in the order of
// the file. Its class is schemas.Usage.
type Problems struct{ List []Problem }

// Error gives one problem a line.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the class.
func (p *Problems) Unwrap() error {
	return &schemas.Error{Class: schemas.Usage, Msg: "the file has problems"}
}

// inOrder sorts by position. Problems of one position stay as they were found.
func inOrder(list []Problem) []Problem {
	slices.SortStableFunc(list, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return list
}
