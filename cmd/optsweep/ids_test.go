package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"optsweep/connectors/embedded"
	"optsweep/connectors/optoutlog"
	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

var demoRules = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// demoIDs are the valid ids of a demo's data, each once, in the order of its
// rows.
func demoIDs(dir string) ([]schemas.ID, error) {
	table, err := parquet.New(parquet.Options{Table: "crm", Path: filepath.Join(dir, "data", "*.parquet"), IDColumn: "euid"})
	if err != nil {
		return nil, err
	}
	units, _, err := table.Plan(context.Background())
	if err != nil {
		return nil, err
	}
	var ids []schemas.ID
	seen := map[schemas.ID]bool{}
	for _, u := range units {
		if err := table.Scan(context.Background(), u, func(c schemas.Cells) error {
			for _, cell := range c.Values {
				if id, _, reason := demoRules.Parse(cell); cell != nil && reason == schemas.Valid && !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// optedOutOf tells which ids the demo's opt-out log lists.
func optedOutOf(dir string, ids []schemas.ID) (map[schemas.ID]bool, error) {
	store := optoutlog.New(optoutlog.Options{Dir: filepath.Join(dir, "optout")})
	if err := store.Load(context.Background()); err != nil {
		return nil, err
	}
	checker, err := embedded.NewChecker(store)
	if err != nil {
		return nil, err
	}
	answer, err := checker.Check(context.Background(), ids)
	if err != nil {
		return nil, err
	}
	listed := map[schemas.ID]bool{}
	for _, o := range answer.OptedOut {
		listed[o.ID] = true
	}
	return listed, nil
}

// takeID KIND DIR FILE puts the first id of a demo's data that is opted_out or
// clear into a file.
func takeID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: takeid opted_out|clear DIR FILE")
	}
	line, err := firstID(args[0], ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), line, 0o600))
}

// firstID is the line that takeID writes.
func firstID(kind, dir string) ([]byte, error) {
	ids, err := demoIDs(dir)
	if err != nil {
		return nil, err
	}
	listed, err := optedOutOf(dir, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if listed[id] == (kind == "opted_out") {
			return append(id.AppendText(nil), '\n'), nil
		}
	}
	return nil, errors.New("no such id")
}

// printID is takeID as a program: printid KIND DIR prints the id.
func printID() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: printid opted_out|clear DIR")
		os.Exit(2)
	}
	line, err := firstID(os.Args[1], os.Args[2])
	if err == nil {
		_, err = os.Stdout.Write(line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "printid:", err)
		os.Exit(1)
	}
}

func TestDemoHasBothKindsOfIDs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	mustSucceed(t, program(t.Context(), t, "demo", "--rows", "2000", "--dir", dir, "--no-run"))
	ids, err := demoIDs(dir)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := optedOutOf(dir, ids)
	if err != nil || len(listed) == 0 || len(listed) == len(ids) {
		t.Fatalf("%d of %d ids are opted out, %v", len(listed), len(ids), err)
	}
}
