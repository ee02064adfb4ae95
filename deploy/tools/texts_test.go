package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Each alert has a runbook with the same parts, and each runbook an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	data, err := os.ReadFile("../monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../monitoring/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			want[r.Alert] = true
			if got := r.Annotations["runbook_url"]; got != "deploy/runbooks/"+r.Alert+".md" {
				t.Errorf("%s points to %s", r.Alert, got)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s lacks a summary, a description or a severity", r.Alert)
			}
			if !strings.Contains(string(tests), `alertname="`+r.Alert+`"`) {
				t.Errorf("no test lets %s fire", r.Alert)
			}
		}
	}
	found, err := filepath.Glob("../runbooks/*.md")
	if err != nil || len(found) < len(want) {
		t.Fatal(found, err)
	}
	links := regexp.MustCompile(`\b(exit-\d+|Optsweep[A-Za-z]+)\.md`)
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := -1
		for _, part := range []string{"\n## What it means\n", "\n## What is at stake\n", "\n## What to look at\n", "\n## What to do\n", "\n## When it is over\n"} {
			i := strings.Index(string(text), part)
			if i <= at {
				t.Errorf("%s lacks %q at its place", path, strings.TrimSpace(part))
			}
			at = i
		}
		for _, l := range links.FindAllString(string(text), -1) {
			if _, err := os.Stat(filepath.Join("../runbooks", l)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if !strings.HasPrefix(name, "exit-") && !want[name] {
			t.Errorf("%s is about an alert that there is not", path)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s has no runbook", name)
	}
}
