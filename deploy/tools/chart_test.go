package tools

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/optsweep"

// render gives the text of every template for the values in a file of the
// chart's folder ci, with those in more on top.
func render(t *testing.T, file, more string) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	values := readValues(t, file)
	extra := map[string]any{}
	if err := yaml.Unmarshal([]byte(more), &extra); err != nil {
		t.Fatal(err)
	}
	values = chartutil.CoalesceTables(extra, values)
	caps := chartutil.DefaultCapabilities.Copy()
	if err := chartutil.ProcessDependenciesWithMerge(chart, values); err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "optsweep", Namespace: "ads", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, caps)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chartDir, "ci", file))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func mustRender(t *testing.T, file, more string) []object {
	t.Helper()
	texts, err := render(t, file, more)
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasSuffix(name, ".yaml") {
			all = append(all, decode(t, name, texts[name])...)
		}
	}
	return all
}

var cases = []string{"cronjob.yaml", "daemon.yaml", "operator.yaml"}

func TestChartLints(t *testing.T) {
	for _, file := range cases {
		result := lint.AllWithKubeVersion(chartDir, readValues(t, file), "ads", nil)
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", file, m)
			}
		}
	}
}

// Every pod of every kind of release keeps to the strictest standard.
func TestPodsAreRestricted(t *testing.T) {
	for _, file := range cases {
		pods := 0
		for _, o := range mustRender(t, file, "") {
			spec := o.pod()
			if spec == nil {
				continue
			}
			pods++
			restricted(t, file+": "+o.name, spec)
		}
		if pods == 0 {
			t.Errorf("%s has no pod", file)
		}
	}
}

func restricted(t *testing.T, name string, spec *core.PodSpec) {
	t.Helper()
	s := spec.SecurityContext
	switch {
	case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0:
		t.Errorf("%s may run as root", name)
	case s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
		t.Errorf("%s has no seccomp profile", name)
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Errorf("%s gets a token of Kubernetes", name)
	}
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		t.Errorf("%s gets OPTSWEEP_... variables of the Service", name)
	}
	if spec.TerminationGracePeriodSeconds == nil || *spec.TerminationGracePeriodSeconds < 60 {
		t.Errorf("%s has no minute to end", name)
	}
	for _, c := range spec.Containers {
		cs := c.SecurityContext
		switch {
		case cs == nil || cs.ReadOnlyRootFilesystem == nil || !*cs.ReadOnlyRootFilesystem:
			t.Errorf("%s/%s may write to its image", name, c.Name)
		case cs.AllowPrivilegeEscalation == nil || *cs.AllowPrivilegeEscalation:
			t.Errorf("%s/%s may gain rights", name, c.Name)
		case cs.Capabilities == nil || !slices.Equal(cs.Capabilities.Drop, []core.Capability{"ALL"}) || len(cs.Capabilities.Add) > 0:
			t.Errorf("%s/%s keeps capabilities", name, c.Name)
		case c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero():
			t.Errorf("%s/%s has no memory limit or no cpu request", name, c.Name)
		}
		volumes := map[string]core.Volume{}
		for _, v := range spec.Volumes {
			volumes[v.Name] = v
		}
		for _, m := range c.VolumeMounts {
			v, ok := volumes[m.Name]
			if !ok {
				t.Errorf("%s/%s mounts %s, which is no volume", name, c.Name, m.Name)
			}
			if (v.Secret != nil || v.ConfigMap != nil) && !m.ReadOnly {
				t.Errorf("%s/%s mounts %s to write", name, c.Name, m.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil {
				t.Errorf("%s/%s has %s from a Secret: secrets are files", name, c.Name, e.Name)
			}
		}
	}
}

func TestCronJob(t *testing.T) {
	cron := find[*batch.CronJob](t, mustRender(t, "cronjob.yaml", ""))
	job := cron.Spec.JobTemplate.Spec
	if cron.Spec.ConcurrencyPolicy != batch.ForbidConcurrent || *cron.Spec.TimeZone != "Etc/UTC" || *cron.Spec.StartingDeadlineSeconds != 7200 {
		t.Errorf("%+v", cron.Spec)
	}
	if *job.ActiveDeadlineSeconds <= 20*3600 {
		t.Errorf("a run of limits.max_duration is cut off after %d s", *job.ActiveDeadlineSeconds)
	}
	rules := job.PodFailurePolicy.Rules
	if rules[0].Action != batch.PodFailurePolicyActionFailJob || !slices.Equal(rules[0].OnExitCodes.Values, []int32{2, 3, 4, 6}) {
		t.Errorf("first rule %+v", rules[0])
	}
	pod := job.Template.Spec
	if pod.RestartPolicy != core.RestartPolicyNever || *rules[0].OnExitCodes.ContainerName != pod.Containers[0].Name {
		t.Errorf("podFailurePolicy is not about %s with restartPolicy %s", pod.Containers[0].Name, pod.RestartPolicy)
	}
	if got := strings.Join(pod.Containers[0].Args, " "); got != "run --config /etc/optsweep/crm.yaml" {
		t.Errorf("args %s", got)
	}
}

// The selector of a network policy must match the pods that it is about.
func TestNetworkPolicySelectsEveryPod(t *testing.T) {
	for _, file := range cases {
		objects := mustRender(t, file, "")
		for _, o := range objects {
			if labels := o.podLabels(); labels != nil && !slices.ContainsFunc(objects, func(p object) bool { return p.selects(t, labels) }) {
				t.Errorf("%s: no policy for %s", file, o.name)
			}
		}
	}
}

func TestInitOnlyForAClaimOfTheChart(t *testing.T) {
	for more, want := range map[string]int{"": 1, "workspace: {existingClaim: mine}": 0, "workspace: {init: false}": 0} {
		jobs := 0
		for _, o := range mustRender(t, "cronjob.yaml", more) {
			if j, ok := o.value.(*batch.Job); ok {
				jobs++
				if j.Annotations["helm.sh/hook"] != "post-install" {
					t.Errorf("%s is no hook", j.Name)
				}
			}
		}
		if jobs != want {
			t.Errorf("%q: %d init jobs, want %d", more, jobs, want)
		}
	}
}

// Values that would make a release nobody wants are refused.
func TestSchemaRefuses(t *testing.T) {
	for more, why := range map[string]string{
		`image: {repository: ""}`:                                   "no image",
		`image: {tag: latest}`:                                      "a tag that moves",
		`image: {tag: ""}`:                                          "neither tag nor digest",
		`image: {digest: "sha256:12"}`:                              "half a digest",
		`jobs: {crm.yaml: null}`:                                    "no job",
		`jobs: {web.yaml: "version: 1"}`:                            "two jobs in one CronJob",
		`cronjob: {concurrencyPolicy: Allow}`:                       "two runs at a time",
		`cronjob: {backoffLimit: 100}`:                              "a retry storm",
		`cronjob: {schedule: "61 * *"}`:                             "no schedule",
		`runAsUser: 0`:                                              "root",
		`terminationGracePeriodSeconds: 5`:                          "no time to end",
		`mode: deamon`:                                              "no such mode",
		`{mode: none, operator: {enabled: false}}`:                  "nothing at all",
		`operator: {enabled: true}`:                                 "an operator without certificate",
		`operator: {enabled: true, tlsSecret: a, clientsSecret: b}`: "an operator without log",
		`workspace: {accessModes: [ReadOnlyMany]}`:                  "a workspace that cannot be written to",
		`secrets: [euid, euid]`:                                     "a secret twice",
		`networkpolicy: {enabled: false}`:                           "a misspelt key",
	} {
		if _, err := render(t, "cronjob.yaml", more); err == nil {
			t.Errorf("%s (%s) is accepted", more, why)
		}
	}
	if _, err := render(t, "operator.yaml", `operator: {intake: {tokenSecret: ""}}`); err == nil {
		t.Error("an intake without token is accepted")
	}
}

// What values.yaml offers and the schema knows is the same.
func TestSchemaKnowsAllValues(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		t.Fatal(err)
	}
	data, err = os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global") // Helm's own
	if a, b := slices.Sorted(maps.Keys(values)), slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(a, b) {
		t.Errorf("values.yaml has\n%v\nthe schema\n%v", a, b)
	}
}

func TestNotes(t *testing.T) {
	for file, want := range map[string]string{
		"cronjob.yaml":  "create job --from=cronjob/optsweep",
		"daemon.yaml":   "port-forward deploy/optsweep 9090",
		"operator.yaml": "https://optsweep-operator.ads.svc:8443",
	} {
		texts, err := render(t, file, "")
		if err != nil {
			t.Fatal(err)
		}
		if notes := texts["optsweep/templates/NOTES.txt"]; !strings.Contains(notes, want) {
			t.Errorf("%s: notes lack %s:\n%s", file, want, notes)
		}
	}
}
