package bigquery

import (
	"fmt"
	"strings"
)

// The statements of this connector, all of them, as text. They keep to what
// both BigQuery and its emulator understand. Names of customers' columns are
// quoted; predicates are the job file's own SQL and stand in parentheses on
// lines of their own, so that a comment in one ends with it. Columns of
// optsweep's own tables that meet such a predicate begin with "optsweep_".

// Columns of staged ids: one row for each distinct cell.
const (
	colID      = "id"       // STRING, the cell; NULL for rows without an id
	colCount   = "n"        // INT64, cells
	colFlagged = "flagged"  // INT64, of them with a flag
	colFlagMin = "flag_min" // TIMESTAMP, earliest flag
	colFlagMax = "flag_max" // TIMESTAMP, latest flag
)

// Columns of a table of hits, and of one of matches.
const (
	hitID    = "optsweep_id"    // STRING, a cell whose flag is to be set
	hitKey   = "optsweep_key"   // STRING, the key of rows that hold such cells
	hitSince = "optsweep_since" // TIMESTAMP, the flag
)

// source is what is read: a table, a view, or a query.
type source struct {
	from       string // SQL after FROM
	ids        []path
	predicates []string // static conditions on its rows
}

// where is the WHERE clause, or nothing.
func (s source) where() string {
	if len(s.predicates) == 0 {
		return ""
	}
	return "\nWHERE " + conditions(s.predicates)
}

// and is the predicates as a part of a condition.
func (s source) and() string {
	if len(s.predicates) == 0 {
		return ""
	}
	return "\n  AND " + conditions(s.predicates)
}

func conditions(predicates []string) string {
	parts := make([]string, len(predicates))
	for i, p := range predicates {
		parts[i] = "(\n    " + p + "\n  )"
	}
	return strings.Join(parts, " AND ")
}

// simple tables have one cell in each row, so that rows can be found by it.
func (s source) simple() bool { return len(s.ids) == 1 && s.ids[0].scalar() }

// cells selects every cell as id, with flag as flag.
func (s source) cells(flag string) string {
	parts := make([]string, len(s.ids))
	for i, p := range s.ids {
		expr, joins := p.cell()
		parts[i] = fmt.Sprintf("SELECT %s AS id, %s AS flag\nFROM %s AS t%s%s", expr, flag, s.from, joins, s.where())
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

// noFlag stands for a flag column that is not there yet.
const noFlag = "CAST(NULL AS TIMESTAMP)"

// stageColumn stages the distinct cells with what the flag column says of
// their rows. column is empty if there is none yet.
func (s source) stageColumn(column string) string {
	flag := noFlag
	if column != "" {
		flag = "t." + quote(column)
	}
	return fmt.Sprintf("SELECT id, COUNT(*) AS n, COUNT(flag) AS flagged, MIN(flag) AS flag_min, MAX(flag) AS flag_max\nFROM (\n%s\n)\nGROUP BY id",
		s.cells(flag))
}

// stageSuppression stages the distinct cells with what the suppression table
// says of them.
func (s source) stageSuppression(suppression TableRef, scope string) string {
	return fmt.Sprintf(`SELECT g.id AS id, g.n AS n, IF(s.id IS NULL, 0, g.n) AS flagged, s.opted_out_since AS flag_min, s.opted_out_since AS flag_max
FROM (
SELECT id, COUNT(*) AS n
FROM (
%s
)
GROUP BY id
) AS g
LEFT JOIN %s AS s
ON s.id = g.id AND s.scope = %s`, s.cells(noFlag), suppression.sql(), literal(scope))
}

// written is what was staged, with flags that were written since for hits.
func written(staged, hits TableRef) string {
	return fmt.Sprintf(`SELECT s.id AS id, s.n AS n, IF(h.%[1]s IS NULL, s.flagged, s.n) AS flagged, IF(h.%[1]s IS NULL, s.flag_min, LEAST(COALESCE(s.flag_min, h.%[2]s), h.%[2]s)) AS flag_min, IF(h.%[1]s IS NULL, s.flag_max, h.%[2]s) AS flag_max
FROM %[3]s AS s
LEFT JOIN %[4]s AS h
ON s.id = h.%[1]s`, hitID, hitSince, staged.sql(), hits.sql())
}

// totals counts what was staged.
func totals(staged TableRef) string {
	return fmt.Sprintf("SELECT COUNT(*) AS cells, COALESCE(SUM(n), 0) AS total\nFROM %s", staged.sql())
}

// count counts the cells of the source.
func (s source) count() string {
	if s.simple() {
		return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM %s AS t%s", s.from, s.where())
	}
	return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM (\n%s\n)", s.cells(noFlag))
}

// key is the expression of what of a row decides its cells, as text. It is
// never NULL.
func (s source) key() string {
	roots := make([]string, len(s.ids))
	for i, p := range s.ids {
		roots[i] = fmt.Sprintf("%s AS c%d", p.root(), i)
	}
	return "TO_JSON_STRING(STRUCT(" + strings.Join(roots, ", ") + "))"
}

// matches finds the keys of the rows that hold hits, with the earliest time.
func (s source) matches(hits TableRef) string {
	parts := make([]string, len(s.ids))
	for i, p := range s.ids {
		expr, joins := p.cell()
		parts[i] = fmt.Sprintf("SELECT %s AS k, h.%s AS since\nFROM %s AS t%s\nJOIN %s AS h\nON %s = h.%s%s",
			s.key(), hitSince, s.from, joins, hits.sql(), expr, hitID, s.where())
	}
	return fmt.Sprintf("SELECT k AS %s, MIN(since) AS %s\nFROM (\n%s\n)\nGROUP BY k", hitKey, hitSince, strings.Join(parts, "\nUNION ALL\n"))
}

// on joins rows t with h: a table of hits if the source is simple, otherwise
// one of matches.
func (s source) on() string {
	if s.simple() {
		expr, _ := s.ids[0].cell()
		return expr + " = h." + hitID + s.and()
	}
	return s.key() + " = h." + hitKey + s.and()
}

// mergeColumn sets the flags of rows that have none or a later one.
func (s source) mergeColumn(h TableRef, column string) string {
	flag := "t." + quote(column)
	return fmt.Sprintf("MERGE INTO %s AS t\nUSING %s AS h\nON %s\nWHEN MATCHED AND (%s IS NULL OR %s > h.%s) THEN\n  UPDATE SET %s = h.%s",
		s.from, h.sql(), s.on(), flag, flag, hitSince, quote(column), hitSince)
}

// clearColumn takes the flags of rows away.
func (s source) clearColumn(h TableRef, column string) string {
	return fmt.Sprintf("MERGE INTO %s AS t\nUSING %s AS h\nON %s\nWHEN MATCHED AND t.%s IS NOT NULL THEN\n  UPDATE SET %s = NULL",
		s.from, h.sql(), s.on(), quote(column), quote(column))
}

// flags counts the cells that are hits: all, those whose row is flagged as meant
// or earlier, those without a flag, and those with a later one. It does not go
// by matches: a row may have changed since they were found.
func (s source) flags(hits TableRef, column string) string {
	flag := "t." + quote(column)
	if s.simple() {
		return fmt.Sprintf("SELECT COUNT(*) AS total, COUNTIF(%s <= h.%s) AS good, COUNTIF(%s IS NULL) AS missing, COUNTIF(%s > h.%s) AS later\nFROM %s AS t\nJOIN %s AS h\nON %s",
			flag, hitSince, flag, flag, hitSince, s.from, hits.sql(), s.on())
	}
	return fmt.Sprintf("SELECT COUNT(*) AS total, COUNTIF(flag <= since) AS good, COUNTIF(flag IS NULL) AS missing, COUNTIF(flag > since) AS later\nFROM (\n%s\n)",
		s.hitCells(hits, flag, s.where()))
}

// mergeSuppression puts hits into the suppression table, with the run that did
// so and its start (Unix ms). It never moves a time to a later one.
func mergeSuppression(suppression, h TableRef, scope, run string, startedMS int64) string {
	run, started := literal(run), fmt.Sprintf("TIMESTAMP_MILLIS(%d)", startedMS)
	return fmt.Sprintf(`MERGE INTO %s AS s
USING %s AS h
ON s.id = h.%s AND s.scope = %s
WHEN MATCHED AND s.opted_out_since > h.%s THEN
  UPDATE SET opted_out_since = h.%s, last_checked_at = %s, run_id = %s
WHEN NOT MATCHED THEN
  INSERT (id, scope, opted_out_since, first_flagged_at, last_checked_at, run_id)
  VALUES (h.%s, %s, h.%s, %s, %s, %s)`,
		suppression.sql(), h.sql(), hitID, literal(scope), hitSince, hitSince, started, run,
		hitID, literal(scope), hitSince, started, started, run)
}

// clearSuppression takes hits off the suppression table.
func clearSuppression(suppression, h TableRef, scope string) string {
	return fmt.Sprintf("DELETE FROM %s AS s\nWHERE s.scope = %s AND s.id IN (SELECT %s FROM %s)", suppression.sql(), literal(scope), hitID, h.sql())
}

// suppressed counts hits as flags counts rows.
func suppressed(suppression, h TableRef, scope string) string {
	return fmt.Sprintf(`SELECT COUNT(*) AS total, COUNTIF(s.opted_out_since <= h.%s) AS good, COUNTIF(s.id IS NULL) AS missing, COUNTIF(s.opted_out_since > h.%s) AS later
FROM %s AS h
LEFT JOIN %s AS s
ON s.id = h.%s AND s.scope = %s`, hitSince, hitSince, h.sql(), suppression.sql(), hitID, literal(scope))
}

// remove deletes the rows that h names, having copied them to quarantine in
// the same transaction unless that is nil.
func (s source) remove(h TableRef, quarantine *TableRef, columns []string, run string) string {
	expr, name := s.key(), hitKey
	if s.simple() {
		expr, _ = s.ids[0].cell()
		name = hitID
	}
	del := fmt.Sprintf("DELETE FROM %s AS t\nWHERE %s IN (SELECT %s FROM %s)%s", s.from, expr, name, h.sql(), s.and())
	if quarantine == nil {
		return del
	}
	names, values := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], values[i] = quote(c), "t."+quote(c)
	}
	return fmt.Sprintf("BEGIN TRANSACTION;\nINSERT INTO %s (%s, optsweep_opted_out_since, optsweep_run_id)\nSELECT %s, h.%s, %s\nFROM %s AS t\nJOIN %s AS h\nON %s;\n%s;\nCOMMIT TRANSACTION;",
		quarantine.sql(), strings.Join(names, ", "), strings.Join(values, ", "), hitSince, literal(run), s.from, h.sql(), s.on(), del)
}

// left counts the cells that are hits.
func (s source) left(hits TableRef) string {
	if s.simple() {
		return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM %s AS t\nJOIN %s AS h\nON %s", s.from, hits.sql(), s.on())
	}
	return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM (\n%s\n)", s.hitCells(hits, noFlag, s.where()))
}

// removed counts the hits in the rows that a run has put into quarantine.
func (s source) removed(quarantine, hits TableRef, run string) string {
	q := source{from: quarantine.sql(), ids: s.ids}
	mine := "\nWHERE t.optsweep_run_id = " + literal(run)
	if s.simple() {
		return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM %s AS t\nJOIN %s AS h\nON %s%s", q.from, hits.sql(), q.on(), mine)
	}
	return fmt.Sprintf("SELECT COUNT(*) AS total\nFROM (\n%s\n)", q.hitCells(hits, noFlag, mine))
}

// hitCells selects every cell that is a hit, with flag as flag and the time
// that it is meant to have as since.
func (s source) hitCells(hits TableRef, flag, where string) string {
	parts := make([]string, len(s.ids))
	for i, p := range s.ids {
		expr, joins := p.cell()
		parts[i] = fmt.Sprintf("SELECT %s AS flag, h.%s AS since\nFROM %s AS t%s\nJOIN %s AS h\nON %s = h.%s%s",
			flag, hitSince, s.from, joins, hits.sql(), expr, hitID, where)
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

// view selects the rows of the source none of whose ids is suppressed, or
// those of which one is.
func (s source) view(suppression TableRef, scope string, active bool) string {
	list := fmt.Sprintf("SELECT s.id FROM %s AS s WHERE s.scope = %s", suppression.sql(), literal(scope))
	parts := make([]string, len(s.ids))
	for i, p := range s.ids {
		parts[i] = "EXISTS (" + p.listed(list, suppression, scope) + ")"
		if active {
			parts[i] = "NOT " + parts[i]
		}
	}
	word := "\n  OR "
	if active {
		word = "\n  AND "
	}
	condition := strings.Join(parts, word)
	if len(s.predicates) > 0 {
		condition = "(" + condition + ")" + s.and()
	}
	return fmt.Sprintf("SELECT t.*\nFROM %s AS t\nWHERE %s", s.from, condition)
}

// listed selects something if a cell of row t is on the list.
func (p path) listed(list string, suppression TableRef, scope string) string {
	expr, joins := p.cell()
	if p.scalar() {
		return fmt.Sprintf("SELECT 1 FROM %s AS s WHERE s.id = %s AND s.scope = %s", suppression.sql(), expr, literal(scope))
	}
	from := strings.TrimPrefix(joins, "\nCROSS JOIN ")
	return fmt.Sprintf("SELECT 1 FROM %s WHERE %s IN (%s)", from, expr, list)
}
