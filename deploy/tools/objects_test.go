package tools

import (
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// object is one object of Kubernetes, decoded into its own type.
type object struct {
	name  string
	value any
}

// decode reads all objects of a text. A key that the type does not have, or
// one that comes twice, is an error: Kubernetes would drop it in silence.
func decode(t *testing.T, from, text string) (all []object) {
	t.Helper()
	for _, part := range strings.Split("\n"+text, "\n---") {
		var head meta.TypeMeta
		if err := yaml.Unmarshal([]byte(part), &head); err != nil {
			t.Fatalf("%s: %v\n%s", from, err, part)
		}
		if head.Kind == "" {
			continue
		}
		var into interface{ GetName() string }
		switch head.APIVersion + "/" + head.Kind {
		case "batch/v1/CronJob":
			into = &batch.CronJob{}
		case "batch/v1/Job":
			into = &batch.Job{}
		case "apps/v1/Deployment":
			into = &apps.Deployment{}
		case "v1/Service":
			into = &core.Service{}
		case "v1/ServiceAccount":
			into = &core.ServiceAccount{}
		case "v1/ConfigMap":
			into = &core.ConfigMap{}
		case "v1/PersistentVolumeClaim":
			into = &core.PersistentVolumeClaim{}
		case "v1/Namespace":
			into = &core.Namespace{}
		case "networking.k8s.io/v1/NetworkPolicy":
			into = &networking.NetworkPolicy{}
		default:
			t.Fatalf("%s: %s %s is not known here", from, head.APIVersion, head.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(part), into); err != nil {
			t.Errorf("%s: %s: %v", from, head.Kind, err)
		}
		if into.GetName() == "" {
			t.Errorf("%s: %s without a name", from, head.Kind)
		}
		all = append(all, object{head.Kind + " " + into.GetName(), into})
	}
	return all
}

func (o object) template() *core.PodTemplateSpec {
	switch v := o.value.(type) {
	case *batch.CronJob:
		return &v.Spec.JobTemplate.Spec.Template
	case *batch.Job:
		return &v.Spec.Template
	case *apps.Deployment:
		return &v.Spec.Template
	}
	return nil
}

func (o object) pod() *core.PodSpec {
	if t := o.template(); t != nil {
		return &t.Spec
	}
	return nil
}

func (o object) podLabels() map[string]string {
	if t := o.template(); t != nil {
		return t.Labels
	}
	return nil
}

// selects tells whether o is a network policy for pods with these labels.
func (o object) selects(t *testing.T, of map[string]string) bool {
	t.Helper()
	p, ok := o.value.(*networking.NetworkPolicy)
	if !ok {
		return false
	}
	s, err := meta.LabelSelectorAsSelector(&p.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(of))
}

// find gives the one object of a type.
func find[T any](t *testing.T, all []object) (found T) {
	t.Helper()
	n := 0
	for _, o := range all {
		if v, ok := o.value.(T); ok {
			found, n = v, n+1
		}
	}
	if n != 1 {
		t.Fatalf("%d objects of type %T, want 1", n, found)
	}
	return found
}
