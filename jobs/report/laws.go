package report

import (
	"fmt"

	"optsweep/schemas"
)

// laws checks the equations that tie the phases' figures together. Each phase
// counts on its own, so a row that one of them lost breaks an equation.
func (b *builder) laws() {
	for _, t := range b.report.Tables {
		if t.Units > 0 {
			bad := sum(t.Malformed)
			b.law("rows = null + malformed + valid", t.Table, t.Rows == t.Nulls+bad+t.Valid,
				"%d = %d + %d + %d", t.Rows, t.Nulls, bad, t.Valid)
		}
		a, ok := b.applied[t.Table]
		if !ok {
			continue
		}
		if b.failedIn("apply", t.Table)+b.failedIn("reapply", t.Table) == 0 {
			b.law("rows written = rows read", t.Table, a.rows == t.Rows && a.nulls == t.Nulls,
				"%d = %d, of them null %d = %d", a.rows, t.Rows, a.nulls, t.Nulls)
		}
		b.law("rows flagged = rows opted out + flags kept", t.Table, t.RowsFlagged == t.RowsOptedOut+t.RowsKept,
			"%d = %d + %d", t.RowsFlagged, t.RowsOptedOut, t.RowsKept)
		b.law("rows flagged = flags read back", t.Table, t.RowsFlagged == a.confirmed,
			"%d = %d", t.RowsFlagged, a.confirmed)
	}
	b.sourceLaws()
	if !b.checked {
		return
	}
	ids := b.report.IDs
	notAsked := ids.Unverifiable[schemas.NotAsked]
	unverifiable := sum(ids.Unverifiable) - notAsked
	b.law("distinct = known + asked + not asked", "", ids.Distinct == ids.Known+ids.Asked+notAsked,
		"%d = %d + %d + %d", ids.Distinct, ids.Known, ids.Asked, notAsked)
	b.law("asked = opted out + clear + unverifiable", "", ids.Asked == ids.OptedOut+ids.Clear+unverifiable,
		"%d = %d + %d + %d", ids.Asked, ids.OptedOut, ids.Clear, unverifiable)
	if b.extracted != nil {
		b.law("distinct checked = distinct extracted", "", ids.Distinct == b.extracted.Distinct,
			"%d = %d", ids.Distinct, b.extracted.Distinct)
	}
}

func (b *builder) law(name, table string, ok bool, format string, args ...any) {
	b.report.Laws = append(b.report.Laws, schemas.Law{Name: name, Table: table, OK: ok, Detail: fmt.Sprintf(format, args...)})
}

func (b *builder) failedIn(phase, table string) (n int) {
	for _, f := range b.report.Failures {
		if f.Phase == phase && f.Table == table {
			n++
		}
	}
	return n
}

func sum(counts map[schemas.Reason]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
