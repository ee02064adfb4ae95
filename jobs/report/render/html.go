package render

import (
	"bytes"
	_ "embed" // of the page and its style
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

//go:embed page.html
var page string

//go:embed page.css
var style string

// shown is what the template gets.
type shown struct {
	schemas.Compliance
	About    string
	Runs     string // how many ended how
	Jobs     []string
	Several  bool // jobs: tables are named with theirs
	Coverage []coverage
	Waits    []histogram
	Trend    *trend
	Canaries int64 // of the last run of each job, together
	Asked    int   // runs that asked
	Missing  []gapKind
	Failed   int // runs and fires that did not end well
}

// gapKind are the gaps of one kind.
type gapKind struct {
	Name  string
	Gaps  []gap
	Total int64
	More  int // not listed
}

type gap struct {
	schemas.ComplianceGap
	Dated bool // there is a time, and nothing else shows it
}

// maxGaps bounds the list of one kind; the JSON form has all.
const maxGaps = 60

// HTML writes one page that needs nothing else.
func HTML(w io.Writer, c schemas.Compliance) error {
	t, err := template.New("report").Funcs(functions()).Parse(strings.Replace(page, "CSS", style, 1))
	if err != nil {
		return err
	}
	s := shown{Compliance: c, About: about(c), Runs: endings(c), Coverage: coverages(c), Waits: histograms(c), Trend: trendOf(c), Missing: kinds(c.Gaps)}
	seen := map[string]bool{}
	canaries := map[string]int{}
	for _, r := range c.Runs {
		if !seen[r.Job] {
			s.Jobs = append(s.Jobs, r.Job)
		}
		seen[r.Job] = true
		if r.Asked {
			s.Asked++
			canaries[r.Job] = r.IDs.Canaries
		}
	}
	for _, t := range c.Tables {
		if !seen[t.Job] {
			s.Jobs = append(s.Jobs, t.Job)
		}
		seen[t.Job] = true
	}
	s.Several = len(s.Jobs) > 1
	for _, n := range canaries {
		s.Canaries += int64(n)
	}
	for _, g := range c.Gaps {
		if g.Kind == schemas.GapRunFailed || g.Kind == schemas.GapFireFailed {
			s.Failed++
		}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

func kinds(gaps []schemas.ComplianceGap) (list []gapKind) {
	at := map[string]int{}
	for _, g := range gaps {
		i, ok := at[g.Kind]
		if !ok {
			i = len(list)
			at[g.Kind] = i
			list = append(list, gapKind{Name: gapName(g.Kind)})
		}
		list[i].Total += g.Count
		if len(list[i].Gaps) == maxGaps {
			list[i].More++
			continue
		}
		list[i].Gaps = append(list[i].Gaps, gap{g, !g.At.IsZero() && g.Kind != schemas.GapFireSkipped && g.Kind != schemas.GapFireFailed})
	}
	return list
}

func functions() template.FuncMap {
	return template.FuncMap{
		"time":   moment,
		"count":  report.Count,
		"int":    func(n int) string { return report.Count(int64(n)) },
		"span":   report.Span,
		"wait":   wait,
		"age":    age,
		"words":  words,
		"status": runStatus,
		"tone":   tone,
		"sign":   sign,
		"gap":    func(g gap) string { return gapOf(g.ComplianceGap) },
		"breach": breachOf,
		"limit":  limitLine,
		"add":    func(a, b float64) float64 { return a + b },
		"share": func(part, whole int64) string {
			if whole == 0 {
				return "-"
			}
			return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(whole))
		},
		"short": func(digest string) string { return digest[:min(16, len(digest))] },
		"skipped": func(n map[string]int) (sum int) {
			for _, x := range n {
				sum += x
			}
			return sum
		},
		"over": func(w schemas.Waits, s *schemas.ComplianceSLO) int64 {
			n, _ := w.Over(s.LimitS)
			return n
		},
		"date": func(t time.Time) string { return t.UTC().Format("2006-01-02") },
	}
}

// tone is how a status looks; it also stands there in words.
func tone(status string) string {
	switch status {
	case schemas.StatusReconciled:
		return "good"
	case schemas.StatusPreviewed, schemas.StatusReapplied:
		return "plain"
	case schemas.StatusPartial, schemas.StatusInterrupted:
		return "warn"
	default:
		return "bad"
	}
}

// sign goes with a tone for those who see no colour.
func sign(status string) string {
	switch tone(status) {
	case "good":
		return "✓"
	case "plain":
		return "○"
	case "warn":
		return "△"
	default:
		return "✗"
	}
}
