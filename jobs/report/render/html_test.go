package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

var (
	update = flag.Bool("update", false, "write the golden files anew")
	show   = flag.String("show", "", "folder to write a page with everything on to, so that a browser can look at it")
)

// forms are the ways to show a report.
func forms() map[string]func(io.Writer, schemas.Compliance) error {
	return map[string]func(io.Writer, schemas.Compliance) error{"txt": Text, "csv": CSV, "html": HTML, "json": func(w io.Writer, c schemas.Compliance) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}}
}

func rendered(t *testing.T, form string, c schemas.Compliance) string {
	t.Helper()
	var b bytes.Buffer
	if err := forms()[form](&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The same events give the same bytes, in every form.
func TestGolden(t *testing.T) {
	month := report.ComplianceOptions{SLO: 24 * time.Hour}
	one := report.ComplianceOptions{Run: "20260510T040012.000Z", Tables: []string{"segments"}, SLO: 24 * time.Hour}
	for name, o := range map[string]report.ComplianceOptions{"month": month, "run": one} {
		for form := range forms() {
			if name == "month" && form == "json" {
				continue // long, and told by the others
			}
			got, again := rendered(t, form, compiled(t, o)), rendered(t, form, compiled(t, o))
			if got != again {
				t.Errorf("%s.%s differs the second time", name, form)
			}
			path := filepath.Join("testdata", name+"."+form)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what is written now; if that is right: go test ./jobs/report/render -update", path)
			}
		}
	}
}

// Nothing in a name or a message becomes markup, a formula, or another line.
func TestHostileText(t *testing.T) {
	for _, text := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</style><script>`, `{{.}}`, `javascript:alert(1)`, `' onload='x`,
		`=cmd|' /C calc'!A0`, `+1`, `-1`, `@SUM(1)`, "\t=1", " =1", "\r=1", "\n=1", "＝1", "a\nb", "\x1b]0;x\x07", "a\u202eb", `a"b,c`, "",
	} {
		c := report.NewCompiler(report.ComplianceOptions{Now: made, SLO: time.Hour, Expected: []report.TableOf{{Job: text, Table: text + "2"}}})
		b := &book{t: t}
		b.start(made.Add(-time.Hour), text, func(v *schemas.RunStarted) { v.Operator.Host, v.Operator.Kind = text, "private" })
		b.add(schemas.EventOwnLists, schemas.OwnLists{Lists: []schemas.OwnList{{Source: "form", Basis: text, User: text, Host: text}}})
		b.asked(10, 1, 1)
		b.check(text, 100_000, 3, 3, waits(30, 3))
		b.add(schemas.EventUnitFailed, schemas.UnitFailed{Phase: "apply", UnitFailure: schemas.UnitFailure{Table: text, Unit: text, Error: text}})
		b.add(schemas.EventLimitOverridden, schemas.LimitOverridden{LimitHit: schemas.LimitHit{Limit: "zero_hits", Figure: text, Allows: text}, User: text, Host: text})
		b.end(schemas.EventRunFinished, schemas.StatusPartial, text)
		b.to(c, true)
		r, err := c.Finish(schemas.ComplianceEvidence{})
		if err != nil {
			t.Fatal(err)
		}
		page := rendered(t, "html", r)
		for _, bad := range []string{"<script", "<img", "\x1b", "\u202e", "</style><"} {
			if strings.Contains(page, bad) {
				t.Errorf("%q: the page has %q", text, bad)
			}
		}
		bare := regexp.MustCompile(`"[^"<>]*"`).ReplaceAllString(page, `""`) // attributes without their values
		if m := regexp.MustCompile(`<[^>]*\son[a-z]+=[^>]*>`).FindString(bare); m != "" {
			t.Errorf("%q: the page has a handler: %s", text, m)
		}
		rows, err := csv.NewReader(strings.NewReader(rendered(t, "csv", r))).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != len(Columns()) {
			t.Fatalf("%q: %d rows, %v", text, len(rows), err)
		}
		for i, cell := range rows[1] {
			if start := strings.TrimLeft(cell, " \t\r\n"); start != "" && strings.ContainsAny(start[:1], "=+-@") || strings.HasPrefix(start, "＝") || strings.ContainsAny(cell, "\r\n\t\x1b") {
				t.Errorf("%q: column %s is %q", text, rows[0][i], cell)
			}
		}
		if lines := rendered(t, "txt", r); strings.ContainsAny(lines, "\x1b\r\u202e") || strings.Contains(text, "\n") && strings.Contains(lines, text) {
			t.Errorf("%q: the text has what moves the cursor", text)
		}
	}
}

// The columns of the CSV form are never renamed or moved, and rows add up.
func TestColumns(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(rendered(t, "csv", compiled(t, report.ComplianceOptions{})))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		if _, twice := at[name]; twice || Columns()[i].Doc == "" {
			t.Errorf("column %s", name)
		}
		at[name] = i
	}
	seen := map[string]bool{}
	for _, row := range rows[1:] {
		seen[row[at["run_status"]]] = true
		if row[at["table"]] == "" {
			continue
		}
		n := func(column string) int64 {
			x, err := strconv.ParseInt(row[at[column]], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		if n("rows") != n("rows_null")+n("rows_quarantined")+n("rows_opted_out")+n("rows_clear")+n("rows_unsettled") {
			t.Errorf("rows do not add up: %q", row)
		}
	}
	for _, status := range []string{"reconciled", "partial", "abandoned", "previewed", "reapplied", "interrupted"} {
		if !seen[status] {
			t.Errorf("no run is %s", status)
		}
	}
}

// Headings go down one by one, tables have heads with a scope, plots a text, and
// nothing is loaded from anywhere.
func TestPageCanBeReadByAll(t *testing.T) {
	page := rendered(t, "html", compiled(t, report.ComplianceOptions{SLO: 24 * time.Hour}))
	level := 0
	for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page, -1) {
		n, _ := strconv.Atoi(m[1])
		if n > level+1 || n == 1 && level > 0 {
			t.Errorf("h%d after h%d", n, level)
		}
		level = n
	}
	for _, m := range regexp.MustCompile(`<th[^>]*>`).FindAllString(page, -1) {
		if !strings.Contains(m, "scope=") && m != "<thead>" {
			t.Errorf("%s has no scope", m)
		}
	}
	for _, m := range regexp.MustCompile(`<svg[^>]*>`).FindAllString(page, -1) {
		if !strings.Contains(m, `role="img"`) && !strings.Contains(m, `aria-hidden="true"`) || strings.Contains(m, `aria-label=""`) {
			t.Errorf("%s has no text", m)
		}
	}
	for _, bad := range []string{"http://", "https://", "<script", "<link", "<img", "@import", "src=", "href="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{`<html lang="en">`, "<title>", `name="viewport"`, "default-src 'none'", "@media print", "table-header-group"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("id %s twice", m[1])
		}
		ids[m[1]] = true
	}
}

// Text has a contrast of 4.5 at least, and what is drawn one of 3, in light, in
// dark, and on paper.
func TestContrast(t *testing.T) {
	palettes := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(style, -1)
	if len(palettes) != 3 {
		t.Fatalf("%d palettes", len(palettes))
	}
	for i, p := range palettes {
		color := map[string]string{}
		for _, m := range regexp.MustCompile(`--(\w+): #([0-9a-f]+)`).FindAllStringSubmatch(p[1], -1) {
			color[m[1]] = m[2]
		}
		for _, name := range []string{"ink", "soft", "accent", "good", "warn", "bad", "out", "clear", "bar"} {
			want := 4.5
			if slices.Contains([]string{"out", "clear", "bar"}, name) {
				want = 3
			}
			for _, ground := range []string{"bg", "card"} {
				if got := contrast(t, color[name], color[ground]); got < want {
					t.Errorf("palette %d: %s on %s has %.2f, want %.1f", i, name, ground, got, want)
				}
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) (l float64) {
	t.Helper()
	if len(hex) == 3 {
		hex = fmt.Sprintf("%c%c%c%c%c%c", hex[0], hex[0], hex[1], hex[1], hex[2], hex[2])
	}
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

// Bars hold everybody once, whatever the objective.
func TestHistogramLosesNobody(t *testing.T) {
	var w schemas.Waits
	for hours := range 400 {
		w.Add(int64(hours) * 3_600_000)
	}
	for _, limit := range []int64{0, 1, 3600, 86_400, 90_000, 100_000, 86_400 * 30, 86_400 * 4000} {
		h, sum, over := histogramOf("t", "0", w, limit), int64(0), int64(0)
		for _, b := range h.Bars {
			sum += b.IDs
			if b.Over {
				over += b.IDs
			}
		}
		want, exact := w.Over(limit)
		if sum != w.IDs || limit > 0 && exact && over != want {
			t.Errorf("limit %d: %d of %d, %d over it, want %d", limit, sum, w.IDs, over, want)
		}
	}
}

// A page without a run says so.
func TestEmpty(t *testing.T) {
	r, err := report.NewCompiler(report.ComplianceOptions{Now: made, SLO: time.Hour}).Finish(schemas.ComplianceEvidence{})
	if err != nil {
		t.Fatal(err)
	}
	for form := range forms() {
		rendered(t, form, r)
	}
	if page := rendered(t, "html", r); !strings.Contains(page, "No run was made.") || !strings.Contains(page, "The objective is not met") {
		t.Error(page)
	}
}

// TestShow writes the page, and around it one that looks at it as a narrow screen
// shows it.
func TestShow(t *testing.T) {
	if *show == "" {
		return
	}
	page := rendered(t, "html", compiled(t, report.ComplianceOptions{SLO: 24 * time.Hour}))
	look, err := os.ReadFile(filepath.Join("testdata", "look.js"))
	if err != nil {
		t.Fatal(err)
	}
	around := `<!doctype html><meta charset="utf-8"><title>looking</title><body><iframe width="360" height="800" srcdoc="` + template.HTMLEscapeString(page) + `"></iframe><script>` + string(look) + `</script>`
	for name, text := range map[string]string{"report.html": page, "look.html": around} {
		if err := os.WriteFile(filepath.Join(*show, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
