package idset_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// Two files with ids, in any order and with repetitions, become one sorted set.
func Example() {
	dir, err := os.MkdirTemp("", "idset-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	options := idset.Options{Spill: dir, Memory: idset.MinMemory}
	rules := schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}
	builder := idset.NewBuilder(options)
	defer builder.Close()

	text := func(n byte) []byte {
		id, _ := schemas.FromRaw(append(make([]byte, 31), n))
		return id.AppendText(nil)
	}
	var units []string
	for n, cells := range [][][]byte{{text(5), nil, text(1), text(5)}, {text(1), text(9), []byte("somebody@example.com")}} {
		collector := idset.NewCollector(rules, builder, func(row, _ int64, reason schemas.Reason, _ []byte) error {
			fmt.Printf("unit %d, row %d: %s\n", n, row, reason)
			return nil
		})
		if err := collector.Add(schemas.Cells{Values: cells}); err != nil {
			fmt.Println(err)
			return
		}
		counts, err := collector.Counts()
		if err != nil {
			fmt.Println(err)
			return
		}
		unit := filepath.Join(dir, fmt.Sprintf("unit-%d", n))
		info, err := builder.WriteFile(ctx, unit)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("unit %d: %d rows, %d null, %d valid, %d distinct\n", n, counts.Rows, counts.Nulls, counts.Valid, info.IDs)
		units = append(units, unit)
	}

	shards := filepath.Join(dir, "shards")
	if err := os.Mkdir(shards, 0o700); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := idset.Merge(ctx, idset.MergeOptions{Options: options}, units, shards); err != nil {
		fmt.Println(err)
		return
	}
	reader, err := idset.OpenReader(shards)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	ids := make([]schemas.ID, 10)
	n, err := reader.Next(ids)
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Println(err)
		return
	}
	fmt.Println(reader.Len(), "ids in all, sorted:", n == 3 && ids[0].Compare(ids[1]) < 0 && ids[1].Compare(ids[2]) < 0)
	// Output:
	// unit 0: 4 rows, 1 null, 3 valid, 2 distinct
	// unit 1, row 2: looks_like_email
	// unit 1: 3 rows, 0 null, 2 valid, 2 distinct
	// 3 ids in all, sorted: true
}
