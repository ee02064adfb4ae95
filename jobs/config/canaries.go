package config

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"optsweep/schemas"
)

// Canary is an id whose verdict is known beforehand: a run that gets another
// one stops before it writes.
type Canary struct {
	ID       schemas.ID
	OptedOut bool
	Line     int // of the file, to name the canary without its id
}

// maxCanaries is one batch of an operator.
const maxCanaries = 5000

// ReadCanaries reads a CSV file with the header "id,expected", where expected
// is opted_out or clear; lines that start with '#' are comments. Every id must
// be valid by the rules and appear once, and there must be at least one. The
// error is *Problems if the file was read; it names lines, never ids.
func ReadCanaries(path string, rules schemas.Rules) ([]Canary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "canaries: %w", err).
			WithHint("operator.canaries.file names a CSV file with the header id,expected")
	}
	defer f.Close()
	return parseCanaries(path, f, rules)
}

func parseCanaries(name string, from io.Reader, rules schemas.Rules) ([]Canary, error) {
	c := canaries{rules: rules, name: name, lines: make(map[schemas.ID]int)}
	c.read(from)
	if len(c.list) == 0 && len(c.problems) == 0 {
		c.fail(1, "holds no canaries", "add lines of an id and opted_out or clear")
	}
	if len(c.problems) > 0 {
		return nil, &Problems{List: c.problems}
	}
	return c.list, nil
}

type canaries struct {
	rules    schemas.Rules
	name     string
	list     []Canary
	lines    map[schemas.ID]int
	problems []Problem
}

func (c *canaries) fail(line int, msg, hint string) {
	c.problems = append(c.problems, Problem{File: c.name, Line: line, Msg: msg, Hint: hint})
}

func (c *canaries) read(from io.Reader) {
	in := csv.NewReader(from)
	in.Comment = '#'
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	for header := true; ; header = false {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if syntax := new(csv.ParseError); errors.As(err, &syntax) {
			c.fail(syntax.Line, "not CSV: "+syntax.Err.Error(), "")
			return
		}
		if err != nil {
			c.fail(1, "cannot be read: "+err.Error(), "")
			return
		}
		line, _ := in.FieldPos(0)
		switch {
		case !header:
			c.add(line, record)
		case !slices.Equal(record, []string{"id", "expected"}):
			c.fail(line, "the first line must be the header id,expected", "")
			return
		}
		if len(c.list) > maxCanaries {
			c.fail(line, fmt.Sprintf("more than %d canaries", maxCanaries), "they are asked in one batch")
			return
		}
	}
}

func (c *canaries) add(line int, record []string) {
	if len(record) != 2 {
		c.fail(line, fmt.Sprintf("has %d fields", len(record)), "write an id, a comma, and opted_out or clear")
		return
	}
	id, _, reason := c.rules.Parse([]byte(record[0]))
	if reason != schemas.Valid {
		c.fail(line, fmt.Sprintf("the id is not usable: %s", reason), "")
		return
	}
	if first, twice := c.lines[id]; twice {
		c.fail(line, fmt.Sprintf("the id is that of line %d", first), "remove one of the two")
		return
	}
	c.lines[id] = line
	switch record[1] {
	case "opted_out", "clear":
		c.list = append(c.list, Canary{ID: id, OptedOut: record[1] == "opted_out", Line: line})
	default:
		c.fail(line, "expected must be opted_out or clear", "")
	}
}
