package report

import (
	"bytes"
	"fmt"
	"text/tabwriter"
	"time"

	"optsweep/schemas"
)

// addSources takes what a run counted by who lists the ids.
func (b *builder) addSources(e schemas.Event) (err error) {
	switch e.Type {
	case schemas.EventOwnLists:
		var v schemas.OwnLists
		v, err = decode[schemas.OwnLists](e)
		b.report.Sources = nil
		if len(v.Lists) > 0 {
			b.report.Sources = &schemas.ReportSources{Lists: v.Lists}
		}
	case schemas.EventSourcesCounted:
		var v schemas.SourcesCounted
		v, err = decode[schemas.SourcesCounted](e)
		if b.report.Sources != nil {
			b.report.Sources.IDs, b.counted = v.IDs, true
		}
	case schemas.EventTableSources:
		var v schemas.TableSources
		v, err = decode[schemas.TableSources](e)
		for _, u := range v.Units {
			b.sources[unitKey{u.Table, u.Unit}] = u.SourceCount
		}
	}
	return err
}

// rowsBySource adds up the opted-out rows of every table. Units that hold no id
// of an own list were not counted again: the operator lists all of theirs.
func (b *builder) rowsBySource() {
	if b.report.Sources == nil {
		return
	}
	for i := range b.report.Tables {
		t := &b.report.Tables[i]
		if _, ok := b.applied[t.Table]; !ok {
			continue
		}
		t.RowsBySource = &schemas.SourceCount{BySource: map[string]int64{}}
		for _, l := range b.report.Sources.Lists {
			t.RowsBySource.BySource[l.Source] = 0
		}
		for key, rows := range b.optedOut {
			switch c, ok := b.sources[key]; {
			case key.table != t.Table:
			case ok:
				t.RowsBySource.Add(c)
			default:
				t.RowsBySource.Operator += rows
			}
		}
	}
}

// sourceLaws checks the equations of own lists. Rows are counted by the table
// and, apart from it, beside the lists; ids by the check and beside the lists.
func (b *builder) sourceLaws() {
	s := b.report.Sources
	if s == nil {
		return
	}
	for _, t := range b.report.Tables {
		c := t.RowsBySource
		if c == nil {
			continue
		}
		b.law("rows opted out = operator only + own lists only + both", t.Table, t.RowsOptedOut == c.Sum(),
			"%d = %d + %d + %d", t.RowsOptedOut, c.Operator, c.Own, c.Both)
		b.law("rows on own lists are on one or more of them", t.Table, onEach(*c),
			"%d + %d rows, by list %v", c.Own, c.Both, c.BySource)
	}
	if !b.counted || !b.checked {
		return
	}
	ids, c := b.report.IDs, s.IDs
	b.law("known + newly opted out = operator only + both", "", ids.Known+ids.OptedOut == c.Operator+c.Both,
		"%d + %d = %d + %d", ids.Known, ids.OptedOut, c.Operator, c.Both)
	b.law("ids on own lists only were asked about, and are not opted out for the operator", "", c.Own <= ids.Clear+sum(ids.Unverifiable),
		"%d <= %d + %d", c.Own, ids.Clear, sum(ids.Unverifiable))
	b.law("ids on own lists are on one or more of them", "", onEach(c),
		"%d + %d ids, by list %v", c.Own, c.Both, c.BySource)
}

// onEach tells whether what is on own lists fits what is on each: at least as
// much in all, and on none more than there is.
func onEach(c schemas.SourceCount) bool {
	var all int64
	for _, n := range c.BySource {
		if n > c.Own+c.Both {
			return false
		}
		all += n
	}
	return all >= c.Own+c.Both
}

func writeSources(b *bytes.Buffer, r schemas.Report) {
	s := r.Sources
	if s == nil {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nopted out, by who lists it\tthe operator only\town lists only\tboth\n")
	fmt.Fprintf(t, "  distinct ids\t%s\t%s\t%s\n", Count(s.IDs.Operator), Count(s.IDs.Own), Count(s.IDs.Both))
	for _, x := range r.Tables {
		if c := x.RowsBySource; c != nil {
			fmt.Fprintf(t, "  rows of %s\t%s\t%s\t%s\n", x.Table, Count(c.Operator), Count(c.Own), Count(c.Both))
		}
	}
	_ = t.Flush()
	for _, l := range s.Lists {
		rows := int64(0)
		for _, x := range r.Tables {
			if x.RowsBySource != nil {
				rows += x.RowsBySource.BySource[l.Source]
			}
		}
		fmt.Fprintf(b, "own list %s: %s of its %s ids were found, in %s; %s; imported %s by %s on %s\n", l.Source,
			Count(s.IDs.BySource[l.Source]), Count(l.Total), plural(rows, "row", "rows"), l.Basis,
			time.UnixMilli(l.At).UTC().Format(time.RFC3339), l.User, l.Host)
	}
}
