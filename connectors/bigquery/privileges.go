package bigquery

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// grant is a role that a table needs, on the narrowest resource that can have
// it.
type grant struct {
	role  string // custom, or one of roles/bigquery
	on    TableRef
	why   string
	views []TableRef // authorizer: that are to be authorized
}

// Roles. The custom one is for what only roles/bigquery.dataOwner has besides.
const (
	jobUser         = "roles/bigquery.jobUser"
	readSessionUser = "roles/bigquery.readSessionUser"
	dataViewer      = "roles/bigquery.dataViewer"
	dataEditor      = "roles/bigquery.dataEditor"
	authorizer      = "optsweepAuthorizer"
)

// grants lists what a table needs.
func grants(o Options, c Connection) []grant {
	billing := TableRef{Project: c.Project}
	list := []grant{
		{role: jobUser, on: billing, why: "run and pay for jobs"},
		{role: readSessionUser, on: billing, why: "read staged ids through the Storage Read API; without it reads are slow"},
		{role: dataEditor, on: dataset(c.Staging), why: "keep staging tables"},
	}
	source := o.Ref
	if o.Query != "" {
		source = TableRef{"PROJECT", "DATASET", "TABLE"} // each that the query reads
	}
	if o.Write.Mode == Suppression {
		list = append(list, grant{role: dataViewer, on: source, why: "read the ids"})
	} else {
		list = append(list, grant{role: dataEditor, on: source, why: "read the ids and change the rows of opted-out ones"})
	}
	if o.ownTables() && dataset(o.Write.Dataset) != dataset(c.Staging) {
		list = append(list, grant{role: dataEditor, on: dataset(o.Write.Dataset), why: "keep optsweep's own tables and views"})
	}
	if o.Write.Authorized {
		list = append(list, grant{role: authorizer, on: dataset(o.Ref), why: "authorize the views", views: []TableRef{
			o.Write.Dataset.In(o.Ref.Table + "_active"), o.Write.Dataset.In(o.Ref.Table + "_suppressed"),
		}})
	}
	return list
}

// ownTables tells whether the mode keeps tables in the write dataset.
func (o Options) ownTables() bool {
	return o.Write.Mode == Suppression || o.Write.Mode == Remove && !o.Write.DropRemoved
}

func dataset(r TableRef) TableRef { return TableRef{Project: r.Project, Dataset: r.Dataset} }

// LeastPrivilege is what grants a service account all that a table needs and no
// more: lines for a shell, then the same for Terraform.
func LeastPrivilege(o Options, c Connection) string {
	var shell, terraform strings.Builder
	account := accountOf(c)
	for _, g := range grants(o, c) {
		fmt.Fprintf(&shell, "# %s\n%s\n", g.why, g.shell(account))
		fmt.Fprintf(&terraform, "\n# %s\n%s\n", g.why, g.terraform(account))
	}
	return shell.String() + terraform.String()
}

// fix says how to grant it.
func (g grant) fix(account string) string {
	return fmt.Sprintf("grant %s on %s, to %s:\n%s\nor with Terraform:\n%s", g.role, g.resource(), g.why, g.shell(account), g.terraform(account))
}

func (g grant) resource() string {
	switch {
	case g.on.Dataset == "":
		return "project " + g.on.Project
	case g.on.Table == "":
		return "dataset " + g.on.String()
	}
	return "table " + g.on.String()
}

func (g grant) shell(account string) string {
	if g.on.Dataset == "" {
		return fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member='serviceAccount:%s' --role='%s' --condition=None", g.on.Project, account, g.role)
	}
	kind, name := "TABLE", g.on.sql()
	if g.on.Table == "" {
		kind, name = "SCHEMA", quote(g.on.Project)+"."+quote(g.on.Dataset)
	}
	role, before := g.role, ""
	if g.role == authorizer {
		role = fmt.Sprintf("projects/%s/roles/%s", g.on.Project, g.role)
		before = fmt.Sprintf("gcloud iam roles create %s --project=%s --permissions=bigquery.datasets.get,bigquery.datasets.update\n", g.role, g.on.Project)
	}
	return fmt.Sprintf("%sbq query --project_id=%s --use_legacy_sql=false 'GRANT `%s` ON %s %s TO \"serviceAccount:%s\"'", before, g.on.Project, role, kind, name, account)
}

func (g grant) terraform(account string) string {
	name := "optsweep_" + strings.TrimPrefix(g.role, "roles/bigquery.")
	switch {
	case g.role == authorizer:
		return g.authorized()
	case g.on.Dataset == "":
		return block("google_project_iam_member", name, "project", g.on.Project, "role", g.role, "member", "serviceAccount:"+account)
	case g.on.Table == "":
		// Not google_bigquery_dataset_iam_member: it takes authorized views
		// away. WRITER is what the API calls dataEditor here.
		return block("google_bigquery_dataset_access", name+"_"+identifier(g.on.Dataset), "project", g.on.Project, "dataset_id", g.on.Dataset, "role", "WRITER", "user_by_email", account)
	}
	return block("google_bigquery_table_iam_member", name+"_"+identifier(g.on.Table), "project", g.on.Project, "dataset_id", g.on.Dataset, "table_id", g.on.Table,
		"role", g.role, "member", "serviceAccount:"+account)
}

// authorized authorizes the views once and for all, so that the service account
// needs no right to say who may read the dataset.
func (g grant) authorized() string {
	parts := []string{"# in place of the role; then write.authorized can be false, until the views change"}
	for _, v := range g.views {
		b := block("google_bigquery_dataset_access", "optsweep_"+identifier(v.Table), "project", g.on.Project, "dataset_id", g.on.Dataset)
		view := fmt.Sprintf("  view {\n    project_id = %q\n    dataset_id = %q\n    table_id   = %q\n  }\n}", v.Project, v.Dataset, v.Table)
		parts = append(parts, strings.TrimSuffix(b, "}")+view)
	}
	return strings.Join(parts, "\n")
}

// block is a resource of Terraform with its arguments, in pairs.
func block(kind, name string, arguments ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "resource %q %q {\n", kind, name)
	for i := 0; i < len(arguments); i += 2 {
		fmt.Fprintf(&b, "  %-13s = %q\n", arguments[i], arguments[i+1])
	}
	b.WriteString("}")
	return b.String()
}

// identifier is a name that Terraform takes.
func identifier(s string) string { return strings.ReplaceAll(label(s), "-", "_") }

// accountOf is the service account that a connection acts as, as far as can be
// told without asking.
func accountOf(c Connection) string {
	if c.Impersonate != "" {
		return c.Impersonate
	}
	var key struct {
		Email string `json:"client_email"`
	}
	if data, err := os.ReadFile(c.KeyFile); err == nil && json.Unmarshal(data, &key) == nil && key.Email != "" {
		return key.Email
	}
	return "SERVICE_ACCOUNT_EMAIL"
}
