package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
)

// openParquetGo opens a file with its page indexes and bloom filters.
func openParquetGo(path string) (*parquet.File, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	file, err := parquet.OpenFile(f, info.Size())
	return file, func() { _ = f.Close() }, err
}

// values reads all values of a column chunk.
func values(c parquet.ColumnChunk) (all []parquet.Value, err error) {
	pages := c.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		r := page.Values()
		buffer := make([]parquet.Value, 1000)
		for {
			n, err := r.ReadValues(buffer)
			for _, v := range buffer[:n] {
				all = append(all, v.Clone())
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

func sameValues(a, b []parquet.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].RepetitionLevel() != b[i].RepetitionLevel() || a[i].DefinitionLevel() != b[i].DefinitionLevel() || a[i].IsNull() != b[i].IsNull() ||
			!a[i].IsNull() && fmt.Sprintf("%v", a[i]) != fmt.Sprintf("%v", b[i]) {
			return false
		}
	}
	return true
}

func compareParquetGo(before, after string, t truth) (checks int, err error) {
	var a *parquet.File
	if err := original(func() (err error) {
		var done func()
		if a, done, err = openParquetGo(before); err != nil {
			return err
		}
		_ = done // the file is read below, and closed when the program ends
		return nil
	}); err != nil {
		return 0, err
	}
	b, done, err := openParquetGo(after)
	if err != nil {
		return 0, err
	}
	defer done()
	if len(a.RowGroups()) != len(b.RowGroups()) || a.NumRows() != b.NumRows() {
		return checks, errors.New("row groups differ")
	}
	id, ok := a.Schema().Lookup("euid")
	if !ok {
		return 0, unreadable{errors.New("no euid")}
	}
	var ids []*string
	var got []*int64
	for g := range a.RowGroups() {
		one, two := a.RowGroups()[g].ColumnChunks(), b.RowGroups()[g].ColumnChunks()
		if len(two) != len(one)+1 {
			return checks, errors.New("columns differ")
		}
		for c := range one {
			var x []parquet.Value
			if err := original(func() (err error) {
				if x, err = values(one[c]); err != nil {
					return err
				}
				_, err = pageIndexes(one[c], x)
				return err
			}); err != nil {
				return 0, err
			}
			y, err := values(two[c])
			if err != nil {
				return checks, err
			}
			if !sameValues(x, y) {
				return checks, fmt.Errorf("column %d differs", c)
			}
			n, err := pageIndexes(two[c], y)
			if err != nil {
				return checks, fmt.Errorf("column %d: %w", c, err)
			}
			checks += 1 + n
			if filter := two[c].BloomFilter(); filter != nil {
				for _, v := range y {
					if found, err := filter.Check(v); err != nil || !v.IsNull() && !found {
						return checks, fmt.Errorf("bloom filter of column %d: %v", c, err)
					}
				}
				checks++
			}
			if c == id.ColumnIndex {
				ids = append(ids, cells(y)...)
			}
		}
		last := two[len(one)]
		z, err := values(last)
		if err != nil {
			return checks, err
		}
		n, err := pageIndexes(last, z)
		if err != nil {
			return checks, fmt.Errorf("flags: %w", err)
		}
		got = append(got, times(z)...)
		checks += 1 + n
	}
	return checks + 1, t.join(filepath.Base(after), ids, got)
}

// cells are the values of an id column, nil for NULL.
func cells(values []parquet.Value) (all []*string) {
	for _, v := range values {
		if v.IsNull() {
			all = append(all, nil)
			continue
		}
		text := string(v.ByteArray())
		all = append(all, &text)
	}
	return all
}

// times are the values of a flag column, nil for NULL.
func times(values []parquet.Value) (all []*int64) {
	for _, v := range values {
		if v.IsNull() {
			all = append(all, nil)
			continue
		}
		ms := v.Int64()
		all = append(all, &ms)
	}
	return all
}

// pageIndexes seeks to every page of the offset index of a flat column and
// compares what is there with all values, and with the column index.
func pageIndexes(c parquet.ColumnChunk, all []parquet.Value) (checks int, err error) {
	offsets, err := c.OffsetIndex()
	if err != nil || offsets == nil || offsets.NumPages() == 0 {
		return 0, ignoreMissing(err)
	}
	for _, v := range all {
		if v.RepetitionLevel() > 0 {
			return 0, nil // rows are not values
		}
	}
	columns, err := c.ColumnIndex()
	if err := ignoreMissing(err); err != nil {
		return 0, err
	}
	pages := c.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	for i := range offsets.NumPages() {
		first, end := offsets.FirstRowIndex(i), int64(len(all))
		if i+1 < offsets.NumPages() {
			end = offsets.FirstRowIndex(i + 1)
		}
		if first >= end {
			continue
		}
		if err := pages.SeekToRow(first); err != nil {
			return checks, err
		}
		page, err := pages.ReadPage()
		if err != nil {
			return checks, err
		}
		buffer := make([]parquet.Value, 1)
		if n, err := page.Values().ReadValues(buffer); n != 1 || err != nil && err != io.EOF || !sameValues(buffer, all[first:first+1]) {
			return checks, fmt.Errorf("row %d through the offset index differs (%v)", first, err)
		}
		checks++
		if columns == nil || columns.NumPages() != offsets.NumPages() {
			continue
		}
		if err := inPage(c.Type(), columns, i, all[first:end]); err != nil {
			return checks, err
		}
		checks++
	}
	return checks, nil
}

// inPage checks the bounds and the NULLs that a column index gives for a page.
func inPage(t parquet.Type, columns parquet.ColumnIndex, i int, all []parquet.Value) error {
	nulls := int64(0)
	for _, v := range all {
		if v.IsNull() {
			nulls++
			continue
		}
		if columns.NullPage(i) {
			return fmt.Errorf("page %d is no NULL page", i)
		}
		low, high := columns.MinValue(i), columns.MaxValue(i)
		if t.Kind() == parquet.Int64 && (t.Compare(v, low) < 0 || t.Compare(v, high) > 0) {
			return fmt.Errorf("page %d has values outside its bounds", i)
		}
	}
	if t.Kind() == parquet.Int64 && columns.NullCount(i) != 0 && columns.NullCount(i) != nulls {
		return fmt.Errorf("page %d has %d NULLs, the index says %d", i, nulls, columns.NullCount(i))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, parquet.ErrMissingOffsetIndex) || errors.Is(err, parquet.ErrMissingColumnIndex) {
		return nil
	}
	return err
}
