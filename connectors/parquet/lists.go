package parquet

// rowOf is the row of cell i of what idReader.each gives.
func rowOf(first int64, rows []int64, i int) int64 {
	if rows == nil {
		return first + int64(i)
	}
	return rows[i]
}

// listRow is what is known so far of a row with a list of ids.
type listRow struct {
	row   int64 // -1: there is none yet
	found bool
	at    int64  // earliest opt-out of its ids
	cell  []byte // whose that is
	clear bool   // one of its ids is the one whose flags are taken away
	keep  bool   // another one is opted out, too
}

// lists takes in cells of lists. A row is folded when the next one begins: its
// cells may come in several batches.
func (f *folder) lists(l *listRow, rows []int64, cells [][]byte) {
	for i, cell := range cells {
		if rows[i] != l.row {
			f.endRow(l)
			*l = listRow{row: rows[i], cell: l.cell}
		}
		if cell == nil {
			f.g.counts.Nulls++
			continue
		}
		if at, found := f.since(cell); found && (!l.found || at < l.at) {
			l.found, l.at = true, at
			if f.missing != nil {
				l.cell = append(l.cell[:0], cell...)
			}
		}
		if f.clear == nil || !f.had(l.row) {
			continue
		}
		if f.clear(cell) {
			l.clear = true
		} else if !l.keep {
			l.keep = f.others == nil || f.others(cell)
		}
	}
}

// endRow folds a row that is complete.
func (f *folder) endRow(l *listRow) {
	if l.row < 0 {
		return
	}
	if l.found {
		f.g.counts.OptedOut++
	}
	if l.found || f.had(l.row) {
		f.fold(l.row, l.cell, l.at, l.found, l.clear && !l.keep)
	}
}
