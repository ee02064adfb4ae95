package runtables

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// quarantine passes on the cells that are no ids, unit by unit in the order of
// the plan, then the rows of ids that the operator gave no verdict on. Of a run
// that has not read all ids yet there is nothing: what it lists may change.
func (r *reader) quarantine() error {
	want := r.quarantined()
	rejected := r.rejected()
	if total(want) == 0 && rejected == 0 {
		return nil
	}
	if _, err := os.Stat(r.layout.Run(r.run.ID, sweep.QuarantineDir)); errors.Is(err, fs.ErrNotExist) {
		r.gone("quarantine")
		return nil
	}
	got, err := r.units()
	if err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return tampered("the quarantine lists %d cells that are no ids, by table and reason not those that the ledger counts: %d", total(got), total(want))
	}
	if rejected == 0 {
		return nil
	}
	path := r.layout.Run(r.run.ID, sweep.RejectedFile())
	listed, err := r.file(path, nil)
	if err != nil {
		return err
	}
	if n := total(listed); n < rejected {
		return tampered("%s: it has %d rows, but %d ids have no verdict", path, n, rejected)
	}
	return nil
}

// counter names rows that are counted together.
type counter struct {
	table  string
	reason schemas.Reason
}

func total(counts map[counter]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// quarantined is what the ledger counts of the cells that are no ids.
func (r *reader) quarantined() map[counter]int64 {
	counts := map[counter]int64{}
	for _, t := range r.extracted {
		for reason, n := range t.Malformed {
			if n > 0 {
				counts[counter{t.Table, reason}] += n
			}
		}
	}
	return counts
}

// rejected is what it counts of the ids that were asked without a verdict.
func (r *reader) rejected() (n int64) {
	if r.checked == nil {
		return 0
	}
	for reason, ids := range r.checked.Unverifiable {
		if reason != schemas.NotAsked {
			n += ids
		}
	}
	return n
}

// units passes on the files of all units that have bad cells.
func (r *reader) units() (map[counter]int64, error) {
	units, _, err := sweep.PlannedUnits(r.layout.Run(r.run.ID, sweep.PlanFile))
	if err != nil {
		return nil, err
	}
	bad := map[int]int64{} // by number of the unit
	path := r.layout.Run(r.run.ID, sweep.ExtractJournal)
	_, err = ledger.Read(path, func(e schemas.Event) error {
		index, counts, err := sweep.ReadUnit(e)
		if err != nil || index < 0 || index >= len(units) || e.Run != r.run.ID {
			return tampered("%s: line %d is of no unit of the run", path, e.Seq)
		}
		bad[index] = malformed(counts)
		return r.ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	sum := map[counter]int64{}
	for _, i := range slices.Sorted(maps.Keys(bad)) {
		if bad[i] == 0 {
			continue
		}
		path := r.layout.Run(r.run.ID, sweep.QuarantineFile(i))
		listed, err := r.file(path, &units[i])
		if err != nil {
			return nil, err
		}
		for c, n := range listed {
			sum[c] += n
		}
	}
	return sum, nil
}

func malformed(c idset.Counts) (n int64) {
	for _, bad := range c.Malformed {
		n += bad
	}
	return n
}

// file passes on the rows of one quarantine file and counts them. unit is the
// only one that it may be about; nil: any.
func (r *reader) file(path string, unit *schemas.Unit) (map[counter]int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tampered("%s is missing", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.ReuseRecord = true
	header, err := in.Read()
	columns := []string{"table", "unit", "row", "reason", "cell", "rows"}
	if err != nil || !slices.Equal(header, columns) && !slices.Equal(header, columns[:5]) { // older files have a line for each row
		return nil, tampered("%s has not the columns of a quarantine file", path)
	}
	counts := map[counter]int64{}
	row := r.start()
	for n := 1; ; n++ {
		line, err := in.Read()
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return nil, tampered("%s: %w", path, err)
		}
		table, name, reason := text(line[0]), text(line[1]), text(line[3])
		if unit != nil && (table != unit.Table || name != unit.Name) {
			return nil, tampered("%s: row %d is of another unit", path, n)
		}
		index, stands, like, err := place(line)
		if err != nil {
			return nil, tampered("%s: row %d is none", path, n)
		}
		counts[counter{table, schemas.Reason(reason)}] += like
		row = rest(row, unlessEmpty(table), unlessEmpty(name), index, stands, reason, text(line[4]))
		if err := r.each(row); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", path, n, err)
		}
	}
}

// place tells the row of a line and how many rows are like it, both NULL if its
// rows could not be read again, and how many the line counts for.
func place(line []string) (index, stands any, like int64, err error) {
	if line[2] != "" {
		at, err := strconv.ParseInt(line[2], 10, 64)
		if err != nil || at < 0 {
			return nil, nil, 0, errors.New("no row")
		}
		index, stands = at, int64(1)
	}
	if len(line) < 6 {
		return index, stands, 1, nil
	}
	rows, err := strconv.ParseInt(line[5], 10, 64)
	if err != nil || rows < 0 {
		return nil, nil, 0, errors.New("no number of rows")
	}
	if rows == 0 {
		return index, nil, 1, nil
	}
	return index, rows, rows, nil
}

// text replaces bytes that are no UTF-8, as the ledger does.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
