// Command many writes Parquet files with the writers that Go has, and compares
// flagged files with their originals with the readers that Go has.
//
//	many write FOLDER IDS.json SEED
//	many read ORIGINALS FLAGGED FLAGS.json
//
// read prints a JSON line for every file and reader.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "write":
		seed, err := strconv.ParseUint(args[3], 10, 64)
		if err != nil {
			return err
		}
		p := people{r: rand.New(rand.NewPCG(seed, 1))}
		if err := load(args[2], &p); err != nil {
			return err
		}
		for _, write := range []func(string, people) error{writeArrow, writeParquetGo, writeXitongsys} {
			if err := write(args[1], p); err != nil {
				return err
			}
		}
		return nil
	case len(args) == 4 && args[0] == "read":
		return readAll(args[1], args[2], args[3])
	}
	return errors.New("usage: many write FOLDER IDS.json SEED | many read ORIGINALS FLAGGED FLAGS.json")
}

func load(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// people are the ids that files draw from.
type people struct {
	IDs []string `json:"ids"`
	Bad []string `json:"bad"`
	r   *rand.Rand
}

// cell is the next cell of an id column, nil for NULL.
func (p people) cell() *string {
	switch n := p.r.IntN(20); {
	case n < 2:
		return nil
	case n == 2:
		return &p.Bad[p.r.IntN(len(p.Bad))]
	}
	return &p.IDs[p.r.IntN(len(p.IDs))]
}

// text is the next cell of a column without NULLs.
func (p people) text() string {
	if c := p.cell(); c != nil {
		return *c
	}
	return ""
}

// result is what a reader says about a file.
type result struct {
	Reader  string `json:"reader"`
	File    string `json:"file"`
	Checks  int    `json:"checks"`
	LeftOut string `json:"left_out,omitempty"` // why it cannot read the original
	Failed  string `json:"failed,omitempty"`
}

// unreadable is an error in reading the original.
type unreadable struct{ error }

// guard runs f; a panic of a library is an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %.100v", p)
		}
	}()
	return f()
}

// original marks the errors of f, and its panics, as those of an original.
func original(f func() error) error {
	if err := guard(f); err != nil {
		return unreadable{err}
	}
	return nil
}

// truth is what the new columns must hold.
type truth struct {
	Flags    map[string]int64    `json:"flags"`    // of ids, in ms
	Expected map[string][]*int64 `json:"expected"` // of the rows of each file
}

// join compares the new column of a file, and what the ids that a reader has read
// give, with what must be.
func (t truth) join(file string, ids []*string, got []*int64) error {
	want := t.Expected[file]
	if len(ids) != len(want) || len(got) != len(want) {
		return fmt.Errorf("%d ids, %d flags, %d rows", len(ids), len(got), len(want))
	}
	for i, id := range ids {
		var own *int64
		if id != nil {
			if ms, listed := t.Flags[*id]; listed {
				own = &ms
			}
		}
		if !same(got[i], want[i]) {
			return fmt.Errorf("the flag of row %d differs", i)
		}
		if !same(own, want[i]) {
			return unreadable{errors.New("reads other ids than everybody else")}
		}
	}
	return nil
}

func same(a, b *int64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func readAll(originals, flagged, truthPath string) error {
	var t truth
	if err := load(truthPath, &t); err != nil {
		return err
	}
	entries, err := os.ReadDir(originals)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for _, e := range entries {
		for reader, compare := range map[string]func(before, after string, t truth) (int, error){
			"arrow-go": compareArrow, "parquet-go": compareParquetGo,
		} {
			r := result{Reader: reader, File: e.Name()}
			err := guard(func() (err error) {
				r.Checks, err = compare(filepath.Join(originals, e.Name()), filepath.Join(flagged, e.Name()), t)
				return err
			})
			var left unreadable
			if errors.As(err, &left) {
				r.LeftOut = fmt.Sprintf("%.80s", digits.ReplaceAllString(left.Error(), "N"))
			} else if err != nil {
				r.Failed = fmt.Sprintf("%.300s", err.Error())
			}
			if err := out.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}

var digits = regexp.MustCompile("[0-9]+")
