package bqfake

import (
	"maps"
	"slices"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// Columns of tables of staged ids and of hits.
const (
	hitID    = "optsweep_id"
	hitSince = "optsweep_since"
)

func stagedSchema() []*bq.TableFieldSchema {
	return []*bq.TableFieldSchema{Field("id", "STRING"), Field("n", "INTEGER"), Field("flagged", "INTEGER"), Field("flag_min", "TIMESTAMP"), Field("flag_max", "TIMESTAMP")}
}

// shapes are the statements that are known.
var shapes = []shape{
	newShape("SELECT id, COUNT(*) AS n, COUNT(flag) AS flagged, MIN(flag) AS flag_min, MAX(flag) AS flag_max\nFROM (\nSELECT t.{col:id} AS id, {flag:flag} AS flag\nFROM {tab:t} AS t{cond:where}\n)\nGROUP BY id", stageColumn),
	newShape("SELECT g.id AS id, g.n AS n, IF(s.id IS NULL, 0, g.n) AS flagged, s.opted_out_since AS flag_min, s.opted_out_since AS flag_max\nFROM (\nSELECT id, COUNT(*) AS n\nFROM (\nSELECT t.{col:id} AS id, CAST(NULL AS TIMESTAMP) AS flag\nFROM {tab:t} AS t{cond:where}\n)\nGROUP BY id\n) AS g\nLEFT JOIN {tab:list} AS s\nON s.id = g.id AND s.scope = {str:scope}", stageSuppression),
	newShape("SELECT s.id AS id, s.n AS n, IF(h.optsweep_id IS NULL, s.flagged, s.n) AS flagged, IF(h.optsweep_id IS NULL, s.flag_min, LEAST(COALESCE(s.flag_min, h.optsweep_since), h.optsweep_since)) AS flag_min, IF(h.optsweep_id IS NULL, s.flag_max, h.optsweep_since) AS flag_max\nFROM {tab:t} AS s\nLEFT JOIN {tab:h} AS h\nON s.id = h.optsweep_id", written),
	newShape("SELECT COUNT(*) AS cells, COALESCE(SUM(n), 0) AS total\nFROM {tab:t}", totals),
	newShape("SELECT COUNT(*) AS total\nFROM {tab:t} AS t{cond:where}", count),
	newShape("MERGE INTO {tab:t} AS t\nUSING {tab:h} AS h\nON t.{col:id} = h.optsweep_id{cond:where}\nWHEN MATCHED AND (t.{col:flag} IS NULL OR t.{col:flag} > h.optsweep_since) THEN\n  UPDATE SET {col:flag} = h.optsweep_since", mergeColumn),
	newShape("MERGE INTO {tab:t} AS t\nUSING {tab:h} AS h\nON t.{col:id} = h.optsweep_id{cond:where}\nWHEN MATCHED AND t.{col:flag} IS NOT NULL THEN\n  UPDATE SET {col:flag} = NULL", clearColumn),
	newShape("SELECT COUNT(*) AS total, COUNTIF(t.{col:flag} <= h.optsweep_since) AS good, COUNTIF(t.{col:flag} IS NULL) AS missing, COUNTIF(t.{col:flag} > h.optsweep_since) AS later\nFROM {tab:t} AS t\nJOIN {tab:h} AS h\nON t.{col:id} = h.optsweep_id{cond:where}", flags),
	newShape("MERGE INTO {tab:list} AS s\nUSING {tab:h} AS h\nON s.id = h.optsweep_id AND s.scope = {str:scope}\nWHEN MATCHED AND s.opted_out_since > h.optsweep_since THEN\n  UPDATE SET opted_out_since = h.optsweep_since, last_checked_at = TIMESTAMP_MILLIS({num:at}), run_id = {str:run}\nWHEN NOT MATCHED THEN\n  INSERT (id, scope, opted_out_since, first_flagged_at, last_checked_at, run_id)\n  VALUES (h.optsweep_id, {str:scope}, h.optsweep_since, TIMESTAMP_MILLIS({num:at}), TIMESTAMP_MILLIS({num:at}), {str:run})", mergeSuppression),
	newShape("DELETE FROM {tab:list} AS s\nWHERE s.scope = {str:scope} AND s.id IN (SELECT optsweep_id FROM {tab:h})", clearSuppression),
	newShape("SELECT COUNT(*) AS total, COUNTIF(s.opted_out_since <= h.optsweep_since) AS good, COUNTIF(s.id IS NULL) AS missing, COUNTIF(s.opted_out_since > h.optsweep_since) AS later\nFROM {tab:h} AS h\nLEFT JOIN {tab:list} AS s\nON s.id = h.optsweep_id AND s.scope = {str:scope}", suppressed),
	newShape("DELETE FROM {tab:t} AS t\nWHERE t.{col:id} IN (SELECT optsweep_id FROM {tab:h}){cond:where}", remove),
	newShape("BEGIN TRANSACTION;\nINSERT INTO {tab:q} ({cols:cols}, optsweep_opted_out_since, optsweep_run_id)\nSELECT {cols:values}, h.optsweep_since, {str:run}\nFROM {tab:t} AS t\nJOIN {tab:h} AS h\nON t.{col:id} = h.optsweep_id{cond:where};\nDELETE FROM {tab:t} AS t\nWHERE t.{col:id} IN (SELECT optsweep_id FROM {tab:h}){cond:where};\nCOMMIT TRANSACTION;", removeKept),
	newShape("SELECT COUNT(*) AS total\nFROM {tab:t} AS t\nJOIN {tab:h} AS h\nON t.{col:id} = h.optsweep_id{cond:where}", left),
	newShape("SELECT COUNT(*) AS total\nFROM {tab:t} AS t\nJOIN {tab:h} AS h\nON t.{col:id} = h.optsweep_id\nWHERE t.optsweep_run_id = {str:run}", removed),
}

// group counts the values of a column among the rows that a query sees.
func group(t *table, id, flag string, where func(Row) bool) []Row {
	groups := map[any]Row{}
	var rows []Row
	for _, r := range t.shown() {
		if !where(r) {
			continue
		}
		g := groups[r[id]]
		if g == nil {
			g = Row{"id": r[id], "n": int64(0), "flagged": int64(0)}
			groups[r[id]] = g
			rows = append(rows, g)
		}
		g["n"] = g["n"].(int64) + 1
		at, ok := r[flag].(time.Time)
		if flag == "" || !ok {
			continue
		}
		g["flagged"] = g["flagged"].(int64) + 1
		if low, ok := g["flag_min"].(time.Time); !ok || at.Before(low) {
			g["flag_min"] = at
		}
		if high, ok := g["flag_max"].(time.Time); !ok || at.After(high) {
			g["flag_max"] = at
		}
	}
	return rows
}

func stageColumn(b *binding) *statement {
	t := b.table("t")
	id, flag, where := b.column(t, "id"), b.column(t, "flag"), b.where("where")
	return query(stagedSchema(), func() []Row { return group(t, id, flag, where) })
}

func stageSuppression(b *binding) *statement {
	t, list := b.table("t"), b.table("list")
	id, where, scope := b.column(t, "id"), b.where("where"), b.text("scope")
	return query(stagedSchema(), func() []Row {
		rows := group(t, id, "", where)
		for _, r := range rows {
			if i := listed(list, r["id"], scope); i >= 0 {
				r["flagged"], r["flag_min"], r["flag_max"] = r["n"], list.rows[i]["opted_out_since"], list.rows[i]["opted_out_since"]
			}
		}
		return rows
	})
}

func written(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	return query(stagedSchema(), func() []Row {
		var rows []Row
		for _, r := range t.rows {
			rows = append(rows, maps.Clone(r))
		}
		copied := &table{rows: rows}
		join(copied, h, "id", func(Row) bool { return true }, func(r Row, since time.Time) {
			low, ok := r["flag_min"].(time.Time)
			if !ok || since.Before(low) {
				low = since
			}
			r["flagged"], r["flag_min"], r["flag_max"] = r["n"], low, since
		})
		return rows
	})
}

// listed finds an id in a suppression table, or -1.
func listed(list *table, id any, scope string) int {
	return slices.IndexFunc(list.rows, func(r Row) bool { return id != nil && r["id"] == id && r["scope"] == scope })
}

func totals(b *binding) *statement {
	t := b.table("t")
	return query(integers("cells", "total"), func() []Row {
		var total int64
		for _, r := range t.rows {
			total += r["n"].(int64)
		}
		return []Row{{"cells": int64(len(t.rows)), "total": total}}
	})
}

func count(b *binding) *statement {
	t, where := b.table("t"), b.where("where")
	return query(integers("total"), func() []Row {
		var n int64
		for _, r := range t.shown() {
			if where(r) {
				n++
			}
		}
		return []Row{{"total": n}}
	})
}

// join calls f for the rows of t that hold a hit.
func join(t, h *table, id string, where func(Row) bool, f func(r Row, since time.Time)) {
	hits := make(map[string]time.Time, len(h.rows))
	for _, r := range h.rows {
		hits[r[hitID].(string)] = r[hitSince].(time.Time)
	}
	for _, r := range t.shown() {
		text, _ := r[id].(string)
		if since, ok := hits[text]; ok && r[id] != nil && where(r) {
			f(r, since)
		}
	}
}

// change is a statement that changes t.
func (b *binding) change(kind string, t *table, run func(*bq.DmlStatistics)) *statement {
	return &statement{kind: kind, target: t, run: func() result {
		dml := &bq.DmlStatistics{}
		rows := make([]Row, len(t.rows)) // what was read of a table does not change any more
		for i, r := range t.rows {
			rows[i] = maps.Clone(r)
		}
		t.rows = rows
		run(dml)
		if dml.DeletedRowCount+dml.InsertedRowCount+dml.UpdatedRowCount > 0 {
			b.s.touch(t)
		}
		return result{dml: dml}
	}}
}

func mergeColumn(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, flag, where := b.column(t, "id"), b.column(t, "flag"), b.where("where")
	return b.change("MERGE", t, func(dml *bq.DmlStatistics) {
		join(t, h, id, where, func(r Row, since time.Time) {
			if at, ok := r[flag].(time.Time); !ok || at.After(since) {
				r[flag] = since
				dml.UpdatedRowCount++
			}
		})
	})
}

func clearColumn(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, flag, where := b.column(t, "id"), b.column(t, "flag"), b.where("where")
	return b.change("MERGE", t, func(dml *bq.DmlStatistics) {
		join(t, h, id, where, func(r Row, _ time.Time) {
			if r[flag] != nil {
				r[flag] = nil
				dml.UpdatedRowCount++
			}
		})
	})
}

// tally counts a row as flags and suppressed do.
func tally(sum Row, flag any, since time.Time) {
	at, ok := flag.(time.Time)
	column := "good"
	switch {
	case !ok:
		column = "missing"
	case at.After(since):
		column = "later"
	}
	sum["total"] = sum["total"].(int64) + 1
	sum[column] = sum[column].(int64) + 1
}

func flags(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, flag, where := b.column(t, "id"), b.column(t, "flag"), b.where("where")
	return query(integers("total", "good", "missing", "later"), func() []Row {
		sum := Row{"total": int64(0), "good": int64(0), "missing": int64(0), "later": int64(0)}
		join(t, h, id, where, func(r Row, since time.Time) { tally(sum, r[flag], since) })
		return []Row{sum}
	})
}

func mergeSuppression(b *binding) *statement {
	list, h := b.table("list"), b.table("h")
	scope, run, at := b.text("scope"), b.text("run"), b.millis("at")
	return b.change("MERGE", list, func(dml *bq.DmlStatistics) {
		for _, r := range h.rows {
			since := r[hitSince].(time.Time)
			if i := listed(list, r[hitID], scope); i < 0 {
				list.rows = append(list.rows, Row{"id": r[hitID], "scope": scope, "opted_out_since": since, "first_flagged_at": at, "last_checked_at": at, "run_id": run})
				dml.InsertedRowCount++
			} else if old := list.rows[i]; old["opted_out_since"].(time.Time).After(since) {
				old["opted_out_since"], old["last_checked_at"], old["run_id"] = since, at, run
				dml.UpdatedRowCount++
			}
		}
	})
}

func clearSuppression(b *binding) *statement {
	list, h, scope := b.table("list"), b.table("h"), b.text("scope")
	return b.change("DELETE", list, func(dml *bq.DmlStatistics) {
		for _, r := range h.rows {
			if i := listed(list, r[hitID], scope); i >= 0 {
				list.rows = slices.Delete(list.rows, i, i+1)
				dml.DeletedRowCount++
			}
		}
	})
}

func suppressed(b *binding) *statement {
	list, h, scope := b.table("list"), b.table("h"), b.text("scope")
	return query(integers("total", "good", "missing", "later"), func() []Row {
		sum := Row{"total": int64(0), "good": int64(0), "missing": int64(0), "later": int64(0)}
		for _, r := range h.rows {
			var flag any
			if i := listed(list, r[hitID], scope); i >= 0 {
				flag = list.rows[i]["opted_out_since"]
			}
			tally(sum, flag, r[hitSince].(time.Time))
		}
		return []Row{sum}
	})
}

// take removes the rows of t that hold a hit.
func take(t, h *table, id string, where func(Row) bool) (gone []Row, since []time.Time) {
	join(t, h, id, where, func(r Row, at time.Time) { gone, since = append(gone, r), append(since, at) })
	hit := map[string]bool{}
	for _, r := range h.rows {
		hit[r[hitID].(string)] = true
	}
	t.rows = slices.DeleteFunc(t.rows, func(r Row) bool {
		text, ok := r[id].(string)
		return ok && hit[text] && where(r) && (t.visible == nil || t.visible(r))
	})
	return gone, since
}

func remove(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, where := b.column(t, "id"), b.where("where")
	return b.change("DELETE", t, func(dml *bq.DmlStatistics) {
		gone, _ := take(t, h, id, where)
		dml.DeletedRowCount = int64(len(gone))
	})
}

// removeKept copies rows and removes them. As it is a script, its job has no
// statistics of rows.
func removeKept(b *binding) *statement {
	q, t, h := b.table("q"), b.table("t"), b.table("h")
	id, where, run := b.column(t, "id"), b.where("where"), b.text("run")
	to, from := b.columns(q, "cols"), b.columns(t, "values")
	st := b.change("SCRIPT", t, func(dml *bq.DmlStatistics) {
		gone, since := take(t, h, id, where)
		for i, r := range gone {
			kept := Row{"optsweep_opted_out_since": since[i], "optsweep_run_id": run}
			for c := range to {
				kept[to[c]] = r[from[c]]
			}
			q.rows = append(q.rows, kept)
		}
		dml.DeletedRowCount = int64(len(gone))
		b.s.touch(q)
	})
	return st
}

func left(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, where := b.column(t, "id"), b.where("where")
	return query(integers("total"), func() []Row {
		var n int64
		join(t, h, id, where, func(Row, time.Time) { n++ })
		return []Row{{"total": n}}
	})
}

func removed(b *binding) *statement {
	t, h := b.table("t"), b.table("h")
	id, run := b.column(t, "id"), b.text("run")
	return query(integers("total"), func() []Row {
		var n int64
		join(t, h, id, func(r Row) bool { return r["optsweep_run_id"] == run }, func(Row, time.Time) { n++ })
		return []Row{{"total": n}}
	})
}
