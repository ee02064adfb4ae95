package audit

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"optsweep/jobs/idset"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// extractJournal compares what was counted in each unit with the ledger's sums
// and with the quarantine.
func (a *auditor) extractJournal(f facts, units []schemas.Unit) {
	const what = "unit counts"
	path := a.layout.Run(f.ID, sweep.ExtractJournal)
	counts := map[int]idset.Counts{}
	_, err := a.journal(f.ID, path, func(e schemas.Event) error {
		index, c, err := sweep.ReadUnit(e)
		if err == nil && (index < 0 || index >= len(units) && units != nil) {
			err = errors.New("the plan has no such unit")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", e.Seq, err)
		}
		counts[index] = c
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && f.extracted == nil {
		return
	}
	if err != nil {
		a.fail(what, f.ID, path, "%s", explain(path, err))
		return
	}
	if f.extracted == nil || units == nil {
		return
	}
	if a.sums(f, path, units, counts) {
		a.ok(what, f.ID, path, "%d units, they add up to the figures in the ledger", len(counts))
	}
	a.quarantine(f, units, counts)
}

// sums adds up the units of each table.
func (a *auditor) sums(f facts, path string, units []schemas.Unit, counts map[int]idset.Counts) bool {
	tables := map[string]*idset.Counts{}
	for i, c := range counts {
		t := tables[units[i].Table]
		if t == nil {
			t = &idset.Counts{}
			tables[units[i].Table] = t
		}
		t.Add(c)
	}
	ok := true
	for _, t := range f.tables {
		sum := tables[t.Table]
		if sum == nil {
			sum = &idset.Counts{}
		}
		if sum.Rows != t.Rows || sum.Nulls != t.Nulls || sum.Valid != t.Valid || sum.Repaired != t.Repaired || !equal(sum.Malformed, t.Malformed) {
			ok = false
			a.fail("unit counts", f.ID, path, "the units of %s do not add up to the figures in the ledger", t.Table)
		}
	}
	return ok
}

// equal compares counts; one that is 0 may be left out.
func equal(a, b map[schemas.Reason]int64) bool {
	drop := func(_ schemas.Reason, n int64) bool { return n == 0 }
	a, b = maps.Clone(a), maps.Clone(b)
	maps.DeleteFunc(a, drop)
	maps.DeleteFunc(b, drop)
	return maps.Equal(a, b)
}

// quarantine counts the rows of the quarantine files.
func (a *auditor) quarantine(f facts, units []schemas.Unit, counts map[int]idset.Counts) {
	const what = "quarantine"
	bad, rows := 0, int64(0)
	for _, i := range slices.Sorted(maps.Keys(counts)) {
		n, err := a.quarantineFile(a.layout.Run(f.ID, sweep.QuarantineFile(i)), units[i], counts[i].Malformed)
		rows += n
		if errors.Is(err, fs.ErrNotExist) && a.purgedIDs(f) {
			a.gone(what, f.ID, a.layout.Run(f.ID, sweep.QuarantineDir))
			return
		}
		if err != nil {
			bad++
			a.fail(what, f.ID, a.layout.Run(f.ID, sweep.QuarantineFile(i)), "%s", explain(a.layout.Run(f.ID, sweep.QuarantineFile(i)), err))
		}
	}
	if path := a.layout.Run(f.ID, sweep.RejectedFile()); f.checked != nil {
		n, err := a.rejectedFile(path, rejected(*f.checked))
		rows += n
		if errors.Is(err, fs.ErrNotExist) && a.purgedIDs(f) {
			a.gone(what, f.ID, path)
			return
		}
		if err != nil {
			bad++
			a.fail(what, f.ID, path, "%s", explain(path, err))
		}
	}
	if bad == 0 {
		a.ok(what, f.ID, a.layout.Run(f.ID, sweep.QuarantineDir), "%d rows without a valid id, as many of each reason as in the ledger", rows)
	}
}

// rejected are the ids that were asked and got no verdict.
func rejected(c schemas.Checked) map[schemas.Reason]int64 {
	asked := maps.Clone(c.Unverifiable)
	delete(asked, schemas.NotAsked)
	return asked
}

// quarantineFile compares the rows of one unit with what was counted in it.
func (a *auditor) quarantineFile(path string, u schemas.Unit, want map[schemas.Reason]int64) (rows int64, err error) {
	got := map[schemas.Reason]int64{}
	err = readCSV(path, func(table, unit string, reason schemas.Reason, _ string, n int64) error {
		if table != u.Table || unit != u.Name {
			return fmt.Errorf("row %d is of another unit", rows+1)
		}
		rows += n
		got[reason] += n
		return a.ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) && equal(want, nil) {
		return 0, nil
	}
	if err == nil && !equal(got, want) {
		err = fmt.Errorf("it has %s, the ledger counts %s", countsText(got), countsText(want))
	}
	return rows, err
}

// rejectedFile compares the ids that the rows of the file hold with what was
// counted: an id can stand in many rows.
func (a *auditor) rejectedFile(path string, want map[schemas.Reason]int64) (rows int64, err error) {
	got, seen := map[schemas.Reason]int64{}, map[string]bool{}
	err = readCSV(path, func(_, _ string, reason schemas.Reason, cell string, n int64) error {
		rows += max(n, 1) // an id whose rows could not be read still counts
		if !seen[cell] {
			seen[cell] = true
			got[reason]++
		}
		return a.ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) && equal(want, nil) {
		return 0, nil
	}
	if err == nil && !equal(got, want) {
		err = fmt.Errorf("it has, each id once, %s, the ledger counts %s", countsText(got), countsText(want))
	}
	return rows, err
}

func countsText(m map[schemas.Reason]int64) string {
	var sum int64
	text := ""
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		sum += m[reason]
		text += fmt.Sprintf(", %s %d", reason, m[reason])
	}
	return fmt.Sprintf("%d rows%s", sum, text)
}

// readCSV passes on the rows of a quarantine file.
// Older ones have a line for each row and do not count rows.
func readCSV(path string, each func(table, unit string, reason schemas.Reason, cell string, rows int64) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return err
	}
	table, unit := slices.Index(header, "table"), slices.Index(header, "unit")
	reason, cell, rows := slices.Index(header, "reason"), slices.Index(header, "cell"), slices.Index(header, "rows")
	if table < 0 || unit < 0 || reason < 0 || cell < 0 {
		return errors.New("it has not the columns of a quarantine file")
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n := int64(1)
		if rows >= 0 {
			if n, err = strconv.ParseInt(row[rows], 10, 64); err != nil || n < 0 {
				return fmt.Errorf("%q is no number of rows", row[rows])
			}
		}
		if err := each(row[table], row[unit], schemas.Reason(row[reason]), row[cell], n); err != nil {
			return err
		}
	}
}

func (a *auditor) path(file string) string {
	return filepath.Join(a.opts.Dir, filepath.FromSlash(file))
}

func sortedLists(m map[string]schemas.SuppressionUpdated) []string {
	return slices.Sorted(maps.Keys(m))
}

// digestOf is the SHA-256 of a file.
func digestOf(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, file}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reader stops when ctx ends.
type reader struct {
	ctx context.Context
	src io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.src.Read(p)
}
