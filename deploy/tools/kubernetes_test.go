package tools

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var update = flag.Bool("update", false, "write deploy/kubernetes anew from the chart")

const plainDir = "../kubernetes"

// plain are the manifests that are the chart's own, without Helm.
var plain = []struct{ dir, values, more, template string }{
	{"base", "cronjob.yaml", "", "serviceaccount.yaml"},
	{"base", "cronjob.yaml", "", "workspace.yaml"},
	{"base", "cronjob.yaml", "", "cronjob.yaml"},
	{"base", "cronjob.yaml", "", "networkpolicy.yaml"},
	{"init", "cronjob.yaml", "", "init.yaml"},
	{"daemon", "cronjob.yaml", "mode: daemon", "serviceaccount.yaml"},
	{"daemon", "cronjob.yaml", "mode: daemon", "workspace.yaml"},
	{"daemon", "cronjob.yaml", "mode: daemon", "daemon.yaml"},
	{"daemon", "cronjob.yaml", "mode: daemon", "networkpolicy.yaml"},
}

// The annotations of a hook and what names Helm, with the lines that they take.
var (
	hook    = regexp.MustCompile(`(?m)^  annotations:\n(    #.*\n)*(    helm\.sh/.*\n)+(    #.*\n)*`)
	helmish = regexp.MustCompile(`(?m)^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by|checksum/config): .*\n`)
	empty   = regexp.MustCompile(`(?m)^ *\n`)
)

func withoutHelm(text string) string {
	text = hook.ReplaceAllString(text, "")
	text = helmish.ReplaceAllString(text, "")
	text = empty.ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^ +annotations:\n( +#.*\n)*( +spec:)`).ReplaceAllString(text, "$2")
	return "# Made from deploy/helm/optsweep; see deploy/README.md.\n" + strings.TrimPrefix(text, "---\n")
}

func TestPlainManifestsAreTheChart(t *testing.T) {
	for _, p := range plain {
		texts, err := render(t, p.values, p.more)
		if err != nil {
			t.Fatal(err)
		}
		want := withoutHelm(texts["optsweep/templates/"+p.template])
		path := filepath.Join(plainDir, p.dir, p.template)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the chart gives: go test ./... -update in deploy/tools", path)
		}
		if strings.Contains(string(got), "helm.sh") {
			t.Errorf("%s names Helm", path)
		}
	}
}

func kustomize(t *testing.T, dir string) []object {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	result, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(plainDir, dir))
	if err != nil {
		t.Fatal(err)
	}
	text, err := result.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, dir, string(text))
}

func TestPlainManifestsBuild(t *testing.T) {
	for dir, want := range map[string]int{"base": 5, "example": 5, "daemon": 6, "init": 2} {
		objects := kustomize(t, dir)
		if len(objects) != want {
			t.Errorf("%s has %d objects, want %d", dir, len(objects), want)
		}
		configs := map[string]bool{}
		for _, o := range objects {
			if c, ok := o.value.(*core.ConfigMap); ok {
				configs[c.Name] = true
				if c.Data["crm.yaml"] == "" {
					t.Errorf("%s: the ConfigMap has %v", dir, slices.Collect(maps.Keys(c.Data)))
				}
			}
		}
		for _, o := range objects {
			spec := o.pod()
			if spec == nil {
				continue
			}
			restricted(t, dir+": "+o.name, spec)
			for _, v := range spec.Volumes {
				if v.ConfigMap != nil && !configs[v.ConfigMap.Name] {
					t.Errorf("%s: %s mounts the ConfigMap %s, which is not there", dir, o.name, v.ConfigMap.Name)
				}
			}
		}
	}
	cron := find[*batch.CronJob](t, kustomize(t, "example"))
	container := cron.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	if cron.Namespace != "ads" || cron.Spec.Schedule != "30 3 * * *" || !strings.Contains(container.Image, "@sha256:") {
		t.Errorf("the example sets %s %s %s", cron.Namespace, cron.Spec.Schedule, container.Image)
	}
	daemon := find[*apps.Deployment](t, kustomize(t, "daemon"))
	if daemon.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType || *daemon.Spec.Replicas != 1 {
		t.Errorf("two daemons: %+v", daemon.Spec.Strategy)
	}
	probes := daemon.Spec.Template.Spec.Containers[0]
	if probes.LivenessProbe.HTTPGet.Path != "/healthz" || probes.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Error("the probes are not those of the page")
	}
}
