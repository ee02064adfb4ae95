package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Alerts and board ask for figures and labels that there are; a misspelt one
// would never fire, and nobody would know.
func TestDeployedAlertsAndBoardKnowTheFigures(t *testing.T) {
	labels := map[string][]string{
		prefix + "runs_total":                 {"job", "verdict"},
		prefix + "notifications_failed_total": {"job", "reason"},
	}
	for _, g := range gauges() {
		labels[prefix+g.name] = append([]string{"job"}, g.labels...)
	}
	source, err := os.ReadFile("../embedded/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	selector := regexp.MustCompile(`\b(optsweep_[a-z0-9_]+)\b(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	used := map[string]bool{}
	dir := filepath.Join("..", "..", "deploy", "monitoring")
	for _, name := range []string{"alerts.yaml", "alerts_test.yaml", "grafana.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), `\"`, `"`)
		for _, m := range selector.FindAllStringSubmatch(text, -1) {
			known, ok := labels[m[1]]
			switch {
			case strings.HasPrefix(m[1], prefix+"operator_"):
				if !strings.Contains(string(source), `"`+m[1]+`"`) {
					t.Errorf("%s: the embedded operator has no %s", name, m[1])
				}
				continue
			case !ok:
				t.Errorf("%s: there is no figure %s", name, m[1])
				continue
			}
			used[strings.TrimPrefix(m[1], prefix)+" in "+name] = true
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(known, l[1]) {
					t.Errorf("%s: %s has no label %s", name, m[1], l[1])
				}
			}
		}
	}
	for _, g := range gauges() {
		if !used[g.name+" in grafana.json"] {
			t.Errorf("the board does not show %s", g.name)
		}
	}
}
