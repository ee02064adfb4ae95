package render

import (
	"fmt"
	"math"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

// width is that of all plots, in units of their view box.
const width = 420

// segment is a part of a bar.
type segment struct {
	Class string // for the style
	Name  string
	Rows  int64
	Share string
	X, W  float64
}

// coverage is the bar of one table: what its rows are.
type coverage struct {
	Job, Table string
	Rows       int64
	Segments   []segment
	Text       string // instead of the plot
}

func coverages(c schemas.Compliance) (list []coverage) {
	for _, t := range c.Tables {
		x := coverage{Job: t.Job, Table: t.Table, Rows: t.Rows}
		if t.Rows == 0 {
			list = append(list, x)
			continue
		}
		at := 0.0
		for _, s := range []segment{
			{Class: "out", Name: "opted out", Rows: t.OptedOut},
			{Class: "clear", Name: "clear", Rows: t.Clear},
			{Class: "unsettled", Name: "unsettled", Rows: t.Unsettled},
			{Class: "quarantined", Name: "quarantined", Rows: t.Bad()},
			{Class: "null", Name: "without an id", Rows: t.Nulls},
		} {
			share := float64(s.Rows) / float64(t.Rows)
			s.X, s.W, s.Share = at, share*width, percent(share)
			at += s.W
			if x.Text != "" {
				x.Text += ", "
			}
			x.Text += fmt.Sprintf("%s %s", s.Name, s.Share)
			x.Segments = append(x.Segments, s)
		}
		list = append(list, x)
	}
	return list
}

// percent rounds no share that is there to nothing, and none to all.
func percent(share float64) string {
	switch {
	case share == 0:
		return "0 %"
	case share < 0.0001:
		return "under 0.01 %"
	case share > 0.9999 && share < 1:
		return "over 99.99 %"
	default:
		return fmt.Sprintf("%.2f %%", 100*share)
	}
}

// histogram shows how long people waited.
type histogram struct {
	Name   string // of the table; empty: all together
	ID     string
	Bars   []bar
	Height float64
	Limit  float64 // where the bars begin that are over the objective; 0: nowhere
	Text   string
	Waits  schemas.Waits
}

type bar struct {
	Label string
	IDs   int64
	Y, W  float64
	Over  bool // the objective
}

// shownBounds are those of the bars, in seconds.
func shownBounds() []int64 {
	const m, h, d = 60, 3600, 86400
	return []int64{15 * m, h, 3 * h, 6 * h, 12 * h, d, 2 * d, 3 * d, 7 * d, 14 * d, 30 * d, 90 * d, 365 * d, math.MaxInt64}
}

const (
	barStep  = 20.0 // from one bar to the next
	barLeft  = 92.0
	barRoom  = width - barLeft - 70 // for the longest
	maxPlots = 12
)

func histograms(c schemas.Compliance) (list []histogram) {
	limit := int64(0)
	if c.SLO != nil {
		limit = c.SLO.LimitS
	}
	if len(c.Tables) != 1 && c.Total.Total.IDs > 0 {
		list = append(list, histogramOf("", "all", c.Total.Total, limit))
	}
	for i, t := range c.Tables {
		if t.Total.IDs > 0 && len(list) < maxPlots {
			list = append(list, histogramOf(t.Table, fmt.Sprint(i), t.Total, limit))
		}
	}
	return list
}

func histogramOf(name, id string, w schemas.Waits, limit int64) histogram {
	bounds := shownBounds()
	if _, exact := w.Over(limit); exact && limit > 0 {
		bounds = insert(bounds, limit)
	}
	h := histogram{Name: name, ID: id, Waits: w}
	first, largest := 0, int64(1)
	for i, le := range bounds {
		b := bar{Label: "longer", Over: limit > 0 && i > 0 && bounds[i-1] >= limit}
		if le < math.MaxInt64 {
			b.Label = "up to " + report.Span(le)
		}
		for _, x := range w.Le {
			if x.LeS <= le && (i == 0 || x.LeS > bounds[i-1]) {
				b.IDs += x.IDs
			}
		}
		largest = max(largest, b.IDs)
		h.Bars = append(h.Bars, b)
	}
	last := len(h.Bars)
	for last > 6 && h.Bars[last-1].IDs == 0 && (!h.Bars[last-1].Over || h.Bars[last-2].Over) {
		last--
	}
	for i := range h.Bars[first:last] {
		b := &h.Bars[i]
		b.Y = float64(i)*barStep + 4
		if b.IDs > 0 {
			b.W = max(2, float64(b.IDs)/float64(largest)*barRoom)
		}
		if b.Over && h.Limit == 0 {
			h.Limit = b.Y - 3
		}
	}
	h.Bars = h.Bars[:last]
	h.Height = float64(last)*barStep + 6
	h.Text = fmt.Sprintf("%s ids; half waited at most %s, 95 percent at most %s, the longest %s", report.Count(w.IDs),
		report.Span(w.Quantile(0.5)), report.Span(w.Quantile(0.95)), report.Span(w.MaxS))
	return h
}

func insert(bounds []int64, x int64) []int64 {
	for i, b := range bounds {
		if b == x {
			return bounds
		}
		if b > x {
			return append(append(append([]int64{}, bounds[:i]...), x), bounds[i:]...)
		}
	}
	return bounds
}

// trend shows the runs one after the other.
type trend struct {
	Points    []point
	New, Wait string // the highest of each
	Cut       bool   // bars of New
	Limit     float64
	LimitText string
	First     string
	Last      string
	Left      int // earlier runs that are not shown
	Text      string
}

type point struct {
	X, W        float64
	NewY, NewH  float64
	Cut         string // what the bar would show if it were not cut
	TextX       float64
	Anchor      string
	WaitY, Wait float64
	Waited      bool // somebody's wait is known
	Over        bool // the objective
	Sign, Tone  string
	Title       string
}

const (
	maxPoints = 60
	trendHigh = 90.0 // of each of the two rows of bars
)

// trendOf is nil if there is only one run.
func trendOf(c schemas.Compliance) *trend {
	runs := c.Runs
	if len(runs) < 2 {
		return nil
	}
	t := &trend{Left: max(0, len(runs)-maxPoints)}
	runs = runs[t.Left:]
	largest, longest, total := int64(1), int64(1), int64(0)
	type figures struct {
		flagged int64
		waits   schemas.Waits
	}
	of := make([]figures, len(runs))
	for i, r := range runs {
		for _, x := range r.Tables {
			if r.DryRun {
				continue
			}
			of[i].flagged += x.RowsNew
			if x.Honour != nil {
				of[i].waits.Merge(x.Honour.Total)
			}
		}
		largest, longest, total = max(largest, of[i].flagged), max(longest, of[i].waits.MaxS), total+of[i].flagged
	}
	if c.SLO != nil {
		longest = max(longest, c.SLO.LimitS)
		t.Limit = trendHigh - float64(c.SLO.LimitS)/float64(longest)*trendHigh
		t.LimitText = "objective " + report.Span(c.SLO.LimitS)
	}
	scale := largest
	if second := secondOf(runs, func(i int) int64 { return of[i].flagged }); largest > 4*second && second > 0 {
		scale = 2 * second
	}
	step := float64(width) / float64(len(runs))
	for i, r := range runs {
		p := point{X: float64(i)*step + step*0.15, W: step * 0.7, Sign: sign(r.Status), Tone: tone(r.Status)}
		if n := of[i].flagged; n > 0 {
			p.NewH = min(trendHigh, max(1, float64(n)/float64(scale)*trendHigh))
			if n > scale {
				p.Cut, p.TextX, p.Anchor, t.Cut = report.Count(n), p.X+p.W+4, "start", true
				if p.X > width/2 {
					p.TextX, p.Anchor = p.X-4, "end"
				}
			}
		}
		p.NewY = trendHigh - p.NewH
		if w := of[i].waits; w.IDs > 0 {
			p.Waited = true
			p.Wait = max(1, float64(w.MaxS)/float64(longest)*trendHigh)
			p.Over = c.SLO != nil && w.MaxS > c.SLO.LimitS
		}
		p.WaitY = trendHigh - p.Wait
		p.Title = fmt.Sprintf("%s, %s: %s rows newly flagged, longest wait %s", r.Run, runStatus(r), report.Count(of[i].flagged), wait(of[i].waits, of[i].waits.MaxS))
		t.Points = append(t.Points, p)
	}
	t.New, t.Wait = report.Count(largest), report.Span(longest)
	t.First, t.Last = runs[0].StartedAt.Format("2006-01-02"), runs[len(runs)-1].StartedAt.Format("2006-01-02")
	t.Text = fmt.Sprintf("%d runs from %s to %s, %s rows newly flagged; the table below has the same figures", len(runs), t.First, t.Last, report.Count(total))
	return t
}

// secondOf is the largest figure of all runs but one.
func secondOf(runs []schemas.ComplianceRun, of func(int) int64) (second int64) {
	first := int64(0)
	for i := range runs {
		switch n := of(i); {
		case n > first:
			first, second = n, first
		case n > second:
			second = n
		}
	}
	return second
}
