package tools

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const terraformDir = "../terraform"

// module reads all .tf files: the blocks by address, and every reference.
func module(t *testing.T) (declared map[string]*hclsyntax.Block, used map[string]hcl.Range) {
	t.Helper()
	declared, used = map[string]*hclsyntax.Block{}, map[string]hcl.Range{}
	files, err := filepath.Glob(filepath.Join(terraformDir, "*.tf"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	p := hclparse.NewParser()
	for _, name := range files {
		f, diags := p.ParseHCLFile(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		body := f.Body.(*hclsyntax.Body)
		for _, b := range body.Blocks {
			switch b.Type {
			case "variable":
				declared["var."+b.Labels[0]] = b
			case "resource":
				declared[b.Labels[0]+"."+b.Labels[1]] = b
			case "locals":
				for local := range b.Body.Attributes {
					declared["local."+local] = b
				}
			}
		}
		references(body, used)
	}
	return declared, used
}

func references(body *hclsyntax.Body, used map[string]hcl.Range) {
	for _, a := range body.Attributes {
		for _, v := range a.Expr.Variables() {
			root := v.RootName()
			if attr, ok := v[min(1, len(v)-1)].(hcl.TraverseAttr); ok {
				used[root+"."+attr.Name] = v.SourceRange()
			}
		}
	}
	for _, b := range body.Blocks {
		references(b.Body, used)
	}
}

// What cannot be asked of the provider here: does each name lead somewhere?
func TestTerraformNamesLeadSomewhere(t *testing.T) {
	declared, used := module(t)
	own := map[string]bool{"each": true, "t": true, "d": true, "s": true}
	for name, at := range used {
		root := name[:max(0, indexDot(name))]
		if own[root] || root == "volumes" || root == "volume_mounts" { // each.value, for expressions, dynamic blocks
			continue
		}
		if declared[name] == nil {
			t.Errorf("%s: %s is not declared", at, name)
		}
	}
	for name := range declared {
		if root := name[:indexDot(name)]; root == "var" || root == "local" {
			if _, ok := used[name]; !ok {
				t.Errorf("%s is not used", name)
			}
		}
	}
}

func indexDot(name string) int {
	for i, c := range name {
		if c == '.' {
			return i
		}
	}
	return 0
}

// Every variable without a default is in the example, and nothing else but variables.
func TestTerraformExample(t *testing.T) {
	declared, _ := module(t)
	f, diags := hclparse.NewParser().ParseHCLFile(filepath.Join(terraformDir, "example.tfvars"))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	given, diags := f.Body.JustAttributes()
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for name, a := range given {
		if declared["var."+name] == nil {
			t.Errorf("%s: there is no variable %s", a.Range, name)
		}
		if _, diags := a.Expr.Value(nil); diags.HasErrors() {
			t.Error(diags)
		}
	}
	for name, b := range declared {
		if b.Type != "variable" {
			continue
		}
		if b.Body.Attributes["description"] == nil || b.Body.Attributes["type"] == nil {
			t.Errorf("%s has no description or no type", name)
		}
		if _, ok := given[b.Labels[0]]; !ok && b.Body.Attributes["default"] == nil {
			t.Errorf("the example lacks %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(terraformDir, "job.example.yaml")); err != nil {
		t.Error(err)
	}
}

// The roles are those that README names, and no more.
func TestTerraformRoles(t *testing.T) {
	declared, _ := module(t)
	allowed := map[string][]string{
		"google_project_iam_member":               {"roles/bigquery.jobUser", "roles/bigquery.readSessionUser"},
		"google_bigquery_table_iam_member":        {"roles/bigquery.dataEditor", "roles/bigquery.dataViewer"},
		"google_bigquery_dataset_access":          {"WRITER"},
		"google_secret_manager_secret_iam_member": {"roles/secretmanager.secretAccessor"},
		"google_cloud_run_v2_job_iam_member":      {"roles/run.invoker"},
	}
	seen := map[string]bool{}
	for name, b := range declared {
		if b.Type != "resource" || !(b.Body.Attributes["role"] != nil) {
			continue
		}
		kind := b.Labels[0]
		seen[kind] = true
		var roles []string
		for _, attr := range []string{"role", "for_each"} {
			if a := b.Body.Attributes[attr]; a != nil {
				roles = append(roles, literals(a.Expr)...)
			}
		}
		for _, role := range roles {
			if len(role) > 4 && !slices.Contains(allowed[kind], role) {
				t.Errorf("%s grants %s", name, role)
			}
		}
	}
	if want := slices.Sorted(maps.Keys(allowed)); !slices.Equal(slices.Sorted(maps.Keys(seen)), want) {
		t.Errorf("grants of %v, want %v", slices.Sorted(maps.Keys(seen)), want)
	}
}

// literals are the strings in an expression that stand for roles.
func literals(e hclsyntax.Expression) (all []string) {
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if l, ok := n.(*hclsyntax.TemplateExpr); ok && l.IsStringLiteral() {
			if v, diags := l.Value(nil); !diags.HasErrors() && (v.AsString() == "WRITER" || len(v.AsString()) > 6 && v.AsString()[:6] == "roles/") {
				all = append(all, v.AsString())
			}
		}
		return nil
	})
	return all
}
