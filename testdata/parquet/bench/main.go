// Command bench does one part of a run to one Parquet file, in a process of its
// own, so that bench.py can measure it as a whole:
//
//	bench list IDS.csv LIST      make a suppression list, as a workspace keeps it
//	bench apply FILE LIST DIR    put the flags of known opt-outs into FILE, by the
//	                             rows that extract has left in DIR
//	bench decode FILE LIST       the same by decoding the ids of FILE
//	bench extract FILE DIR       leave the distinct ids of FILE as shards in DIR,
//	                             and which row holds which
//	bench rewrite FILE OUT LIST CODEC
//	                             decode FILE and encode it anew with arrow v17
//
// IDS.csv has lines of an id and a time in Unix ms. Memory limit and collector
// are those of the product with limits.memory: 1GiB.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"optsweep/connectors/parquet"
	"optsweep/jobs/idset"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const limit = 1 << 30 // bytes

var rules = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

func main() {
	debug.SetMemoryLimit(limit - limit/16)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx := context.Background()
	switch {
	case len(args) == 3 && args[0] == "list":
		return list(ctx, args[1], args[2])
	case len(args) == 4 && args[0] == "apply":
		return apply(ctx, args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "decode":
		return apply(ctx, args[1], args[2], "")
	case len(args) == 3 && args[0] == "extract":
		return extract(ctx, args[1], args[2])
	case len(args) == 5 && args[0] == "rewrite":
		return rewrite(ctx, args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: bench list IDS.csv LIST | apply FILE LIST DIR | decode FILE LIST | extract FILE DIR | rewrite FILE OUT LIST CODEC")
}

func list(ctx context.Context, csv, to string) error {
	f, err := os.Open(csv)
	if err != nil {
		return err
	}
	defer f.Close()
	var entries []idset.Entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, ms, _ := strings.Cut(lines.Text(), ",")
		id, _, reason := rules.Parse([]byte(text))
		since, err := strconv.ParseInt(ms, 10, 64)
		if reason != schemas.Valid || err != nil {
			return fmt.Errorf("%s: a line is not an id and a time", csv)
		}
		entries = append(entries, idset.Entry{ID: id, SinceMS: since, FoundMS: since})
	}
	if err := lines.Err(); err != nil {
		return err
	}
	_, err = idset.MergeList(ctx, idset.ListMerge{Old: to, First: true, Additions: entries, New: to})
	return err
}

// load reads the opt-outs.
func load(ctx context.Context, path string) (*idset.OptedOut, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	set := idset.NewOptedOut(rules, int(info.Size()/50))
	_, err = idset.LoadList(ctx, path, false, set)
	return set, err
}

// open plans the only unit of a file.
func open(ctx context.Context, path string) (*parquet.Table, schemas.Unit, error) {
	t, err := parquet.New(parquet.Options{Table: "bench", Path: path, IDColumn: "euid"})
	if err != nil {
		return nil, schemas.Unit{}, err
	}
	units, failed, err := t.Plan(ctx)
	if err == nil && len(failed) > 0 {
		err = errors.New(failed[0].Error)
	}
	if err != nil {
		return nil, schemas.Unit{}, err
	}
	return t, units[0], nil
}

// apply goes by rows if dir is not empty.
func apply(ctx context.Context, path, ids, dir string) error {
	set, err := load(ctx, ids)
	if err != nil {
		return err
	}
	t, u, err := open(ctx, path)
	if err != nil {
		return err
	}
	commit := func(schemas.Receipt) error { return nil }
	var receipt schemas.Receipt
	if dir == "" {
		receipt, err = t.Apply(ctx, u, set.Since, commit)
	} else {
		receipt, err = applyRows(ctx, t, u, set, dir, commit)
	}
	if err == nil {
		fmt.Println(receipt.Rows, receipt.Flagged)
	}
	return err
}

func applyRows(ctx context.Context, t *parquet.Table, u schemas.Unit, set *idset.OptedOut, dir string, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	find := sync.OnceValues(func() (idset.Found, error) {
		return idset.NewFinder(set).Find(ctx, filepath.Join(dir, unitIDs), limit/8/24)
	})
	rows, err := idset.OpenRows(filepath.Join(dir, unitRows))
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer rows.Close()
	return t.ApplyRows(ctx, u, func(ctx context.Context, first, n int64, optedOut func(row, sinceMS int64)) (int64, error) {
		found, err := find()
		if err != nil {
			return 0, err
		}
		if found.Hits == nil {
			return 0, errors.New("ids cannot be told from each other by their rows")
		}
		return rows.Each(ctx, found.Hits, first, n, optedOut)
	}, commit)
}

// Names of what extract leaves beside the shards.
const unitIDs, unitRows = "unit.ids", "unit.rows"

func extract(ctx context.Context, path, dir string) error {
	t, u, err := open(ctx, path)
	if err != nil {
		return err
	}
	shards := filepath.Join(dir, "shards")
	if err := os.MkdirAll(shards, 0o700); err != nil {
		return err
	}
	b := idset.NewBuilder(idset.Options{Spill: dir, Memory: limit / 2})
	defer b.Close()
	c := idset.NewCollector(rules, b, nil)
	rows := idset.NewRowWriter(durable.Disk{}, filepath.Join(dir, unitRows))
	defer rows.Discard()
	c.KeepRows(rows)
	parts := idset.NewParts(c)
	if err := t.ScanParts(ctx, u, runtime.GOMAXPROCS(0), parts.Add, parts.End); err != nil {
		return err
	}
	counts, err := c.Counts()
	if err != nil {
		return err
	}
	if _, err := rows.Publish(); err != nil {
		return err
	}
	unit := filepath.Join(dir, unitIDs)
	if _, err := b.WriteFile(ctx, unit); err != nil {
		return err
	}
	m, err := idset.Merge(ctx, idset.MergeOptions{Options: idset.Options{Spill: dir, Memory: limit / 2}}, []string{unit}, shards)
	if err == nil && counts.Valid > 0 {
		fmt.Print(m.IDs)
	}
	return err
}
