package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// unitExtracted is the result of the extract task of one unit.
type unitExtracted struct {
	Index    int              `json:"index"` // of the unit in the plan
	File     string           `json:"file"`  // its sorted ids, under the run's folder
	Counts   idset.Counts     `json:"counts"`
	Distinct int64            `json:"distinct"`
	Example  *schemas.BadCell `json:"example,omitempty"`

	// What later runs go by to use it again.
	Table      string `json:"table,omitempty"`
	Unit       string `json:"unit,omitempty"`
	Version    string `json:"version,omitempty"`
	Reading    string `json:"reading,omitempty"`    // empty: never
	Digest     string `json:"digest,omitempty"`     // of File
	Rows       string `json:"rows,omitempty"`       // digest of its rowsFile; empty: there is none
	Quarantine string `json:"quarantine,omitempty"` // SHA-256 of the list of bad cells; empty: there are none

	ReadBy string `json:"read_by,omitempty"` // the run that read the unit, if it was an earlier one
}

func decodeExtracted(e schemas.Event) (d unitExtracted, err error) {
	err = json.Unmarshal(e.Data, &d)
	return d, err
}

func unitFile(index int) string { return filepath.Join(extractDir, fmt.Sprintf("%06d.ids", index)) }

// extract takes the ids out of every unit, quarantines what is no id, and
// leaves the distinct ids of all tables in sorted shards.
func (r *run) extract(ctx context.Context) error {
	done, journal, err := r.loadExtracted()
	if err != nil {
		return err
	}
	defer journal.Close()
	if r.extracted != nil {
		return r.checkQuarantine(done)
	}
	began := r.now()
	if err := r.extractUnits(ctx, done, journal); err != nil {
		return err
	}
	if err := r.checkQuarantine(done); err != nil {
		return err
	}
	inputs := make([]string, 0, len(done))
	for i := range r.units {
		if d, ok := done[i]; ok {
			inputs = append(inputs, r.path(d.File))
		}
	}
	if err := r.deps.Workspace.disk.MkdirAll(r.path(shardsDir), 0o700); err != nil {
		return err
	}
	manifest, err := idset.Merge(ctx, idset.MergeOptions{Options: r.idOptions(1)}, inputs, r.path(shardsDir))
	if err != nil {
		return err
	}
	for _, t := range r.tableCounts(done) {
		if err := r.append(schemas.EventTableExtracted, t); err != nil {
			return err
		}
	}
	r.extracted = &schemas.Extracted{Distinct: manifest.IDs, Digest: DigestOfShards(manifest), Seconds: r.now().Sub(began).Seconds()}
	if err := r.append(schemas.EventExtracted, r.extracted); err != nil {
		return err
	}
	return r.deps.Workspace.dropIDs(r.now()) // of units that are no longer there, among others
}

// idOptions shares half of the memory among tasks; the other half is for what
// the connectors decode.
func (r *run) idOptions(tasks int) idset.Options {
	return idset.Options{Disk: r.deps.Workspace.disk, Spill: r.path(spillDir), Memory: r.job.Memory / 2 / int64(tasks)}
}

// DigestOfShards names the ids of a folder of shards, as the ledger knows them.
func DigestOfShards(m idset.Manifest) string {
	h := sha256.New()
	for _, s := range m.Shards {
		fmt.Fprintln(h, s.IDs, s.Digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *run) loadExtracted() (map[int]unitExtracted, journal, error) {
	done := map[int]unitExtracted{}
	journal, err := r.openJournal(extractLog, func(e schemas.Event) error {
		d, err := decodeExtracted(e)
		done[d.Index] = d
		return err
	})
	return done, journal, err
}

// extractUnits runs the tasks that are not done yet, several side by side.
func (r *run) extractUnits(ctx context.Context, done map[int]unitExtracted, journal journal) error {
	var rows int64
	var left []int // units, by number
	for i, u := range r.units {
		if _, ok := done[i]; !ok && !r.failed[keyOf(u)] {
			rows += u.Rows
			left = append(left, i)
		}
	}
	r.deps.Progress.Start("extract", rows, "rows")
	defer r.deps.Progress.Stop()

	for _, dir := range []string{extractDir, quarantineDir, spillDir} {
		if err := r.deps.Workspace.disk.MkdirAll(r.path(dir), 0o700); err != nil {
			return err
		}
	}
	left, err := r.reuse(ctx, left, done, journal)
	if err != nil {
		return err
	}
	side := max(1, min(r.job.Workers, len(left))) // units side by side
	builders := make(chan *idset.Builder, side)   // one for each, used again
	for range side {
		b := idset.NewBuilder(r.idOptions(side))
		defer b.Close()
		builders <- b
	}
	var mu sync.Mutex // of done, journal and the ledger
	var begun atomic.Int64
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for _, i := range left {
		tasks.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			u := r.units[i]
			// Workers that find no unit of their own read parts of the last ones.
			parts := max(1, r.job.Workers/max(1, min(side, len(left)-int(begun.Add(1))+1)))
			builder := <-builders
			defer func() { builders <- builder }()
			result, err := r.extractUnit(ctx, i, u, parts, builder)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			var broken *unitError
			if errors.As(err, &broken) {
				return r.fail("extract", failure(u, broken.err))
			}
			if err != nil {
				return err // of the workspace, which all units need
			}
			if _, err := journal.Append(r.id, schemas.EventUnitExtracted, result); err != nil {
				return err
			}
			done[i] = result
			return nil
		})
	}
	return tasks.Wait()
}

// unitError is a fault of one unit, which leaves the others alone.
type unitError struct{ err error }

func (e *unitError) Error() string { return e.err.Error() }

// extractUnit is the extract task of one unit, up to n of its parts side by
// side: idempotent, independent of all others.
func (r *run) extractUnit(ctx context.Context, index int, u schemas.Unit, n int, builder *idset.Builder) (unitExtracted, error) {
	result := unitExtracted{
		Index: index, File: unitFile(index), Table: u.Table, Unit: u.Name, Version: u.Version, Reading: r.reading(u.Table),
	}
	quarantine := newQuarantine(r.deps.Workspace.disk, r.path(QuarantineFile(index)), u, r.deps.Workspace.Pseudonyms)
	defer quarantine.discard()
	collector := idset.NewCollector(r.job.Rules, builder, quarantine.add)
	rows := r.rowWriter(result)
	if rows != nil {
		defer rows.Discard()
		collector.KeepRows(rows)
	}
	err := r.collect(ctx, u, n, collector)
	if err == nil {
		err = quarantine.publish()
	}
	if err == nil && rows != nil {
		result.Rows, err = rows.Publish()
	}
	if err != nil {
		builder.Close() // drops the ids of this unit
		return result, err
	}
	info, err := builder.WriteFile(ctx, r.path(result.File))
	if err != nil {
		return result, err
	}
	result.Distinct, result.Digest = info.IDs, info.Digest
	result.Example, result.Quarantine = quarantine.example, quarantine.digest()
	if result.Counts, err = collector.Counts(); err != nil {
		return result, err
	}
	if _, pinned := r.source(u.Table).(Pinner); !pinned && result.Counts.Rows != u.Rows {
		return result, &unitError{fmt.Errorf("%d rows were read, its metadata says %d", result.Counts.Rows, u.Rows)}
	}
	return result, nil
}

// collect takes in the cells of a unit, up to n of its parts side by side where
// the source knows parts. An error of the source is a unitError.
func (r *run) collect(ctx context.Context, u schemas.Unit, n int, collector *idset.Collector) error {
	var mu sync.Mutex
	var keepErr error // the first error that is not the source's
	keep := func(err error) error {
		mu.Lock()
		defer mu.Unlock()
		if keepErr == nil {
			keepErr = err
		}
		return err
	}
	var err error
	if source, ok := r.source(u.Table).(PartsSource); ok {
		parts := idset.NewParts(collector)
		err = source.ScanParts(ctx, u, n, func(scan context.Context, part int, c schemas.Cells) error {
			r.deps.Progress.Add(c.Rows())
			err := parts.Add(scan, part, c)
			if scan.Err() != nil {
				return scan.Err() // of what ended the scan
			}
			return keep(err)
		}, func(part int) error { return keep(parts.End(part)) })
	} else {
		err = r.source(u.Table).Scan(ctx, u, func(c schemas.Cells) error {
			r.deps.Progress.Add(c.Rows())
			return keep(errors.Join(ctx.Err(), collector.Add(c)))
		})
	}
	if keepErr == nil && err != nil {
		return &unitError{err}
	}
	return keepErr
}

// tableCounts adds up the units' counts, table by table in the job's order.
func (r *run) tableCounts(done map[int]unitExtracted) []schemas.TableExtracted {
	tables := make([]schemas.TableExtracted, len(r.job.Tables))
	position := map[string]int{}
	for i, t := range r.job.Tables {
		tables[i] = schemas.TableExtracted{Table: t.Name, Malformed: map[schemas.Reason]int64{}}
		position[t.Name] = i
	}
	for i, u := range r.units {
		d, ok := done[i]
		if !ok {
			continue
		}
		t := &tables[position[u.Table]]
		t.Units++
		if d.ReadBy != "" {
			t.Reused++
		}
		t.Rows += d.Counts.Rows
		t.Nulls += d.Counts.Nulls
		t.Valid += d.Counts.Valid
		t.Repaired += d.Counts.Repaired
		for reason, n := range d.Counts.Malformed {
			t.Malformed[reason] += n
		}
		if t.Example == nil {
			t.Example = d.Example
		}
	}
	return tables
}
