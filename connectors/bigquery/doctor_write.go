package bigquery

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/bigquery"
)

// writing checks what the write mode needs.
func (d *doctor) writing(ctx context.Context, m *bigquery.TableMetadata) {
	var details []string
	if d.Write.Mode != Suppression {
		if m == nil {
			d.skip("the table cannot be seen", "write")
			return
		}
		need := []string{"bigquery.tables.getData", "bigquery.tables.updateData"}
		if has, _ := d.flagColumn(m); d.Write.Mode == Column && !has {
			need = append(need, "bigquery.tables.update") // to add the column
		}
		detail, ok := d.may(ctx, d.Ref, need, dataEditor+" on table "+d.Ref.String())
		if !ok {
			return
		}
		details = append(details, detail)
	}
	if d.ownTables() {
		detail, ok := d.own(ctx)
		if !ok {
			return
		}
		details = append(details, detail)
	}
	detail := strings.Join(details, "; ")
	if d.Write.Mode != Suppression && m.StreamingBuffer != nil {
		d.add("write", Warn, fmt.Sprintf("%s; about %d rows are in the streaming buffer: those that tabledata.insertAll wrote in the last 30 minutes cannot be changed", detail, m.StreamingBuffer.EstimatedRows),
			"run when they are older, leave them out with a partition, or use write mode suppression; rows of the Storage Write API do not matter")
		return
	}
	d.add("write", OK, detail, "")
}

// may asks for permissions on a table. If one is missing or cannot be asked
// for, it adds the finding and is not ok.
func (d *doctor) may(ctx context.Context, r TableRef, need []string, roles ...string) (detail string, ok bool) {
	var have []string
	err := d.c.retry(ctx, func(ctx context.Context) (err error) {
		have, err = d.c.table(r).IAM().TestPermissions(ctx, need)
		return err
	})
	if err != nil {
		d.add("write", Skip, fmt.Sprintf("permissions on %s cannot be checked without trying: %s", r, clean(err)), d.grant(roles...))
		return "", false
	}
	missing := slices.DeleteFunc(slices.Clone(need), func(p string) bool { return slices.Contains(have, p) })
	if len(missing) > 0 {
		d.add("write", Fail, fmt.Sprintf("%s is not allowed on %s", strings.Join(missing, ", "), r), d.grant(roles...))
		return "", false
	}
	return "rows of " + r.String() + " can be changed", true
}

// own checks the dataset of tables that stay.
func (d *doctor) own(ctx context.Context) (detail string, ok bool) {
	set := dataset(d.Write.Dataset)
	role := dataEditor + " on dataset " + set.String()
	if m := d.writeSet; m != nil && m.DefaultTableExpiration > 0 {
		d.add("write", Fail, fmt.Sprintf("tables made in %s expire after %s, and with them the record of who has opted out", set, m.DefaultTableExpiration),
			fmt.Sprintf("name a write.dataset without one, or take it away: bq update --default_table_expiration=0 %s; of tables that are there: bq update --expiration=0 %s", colon(set), colon(set.In("TABLE"))))
		return "", false
	}
	if set != dataset(d.c.Staging) {
		probe := set.In(probePrefix + strings.ToLower(rand.Text()[:12]))
		if err := d.probe(ctx, probe); err != nil {
			d.fail("write", err, role)
			return "", false
		}
		if err := d.removeProbe(ctx, probe); err != nil {
			d.add("write", Warn, "a table of this check could not be removed; it goes away within an hour: "+clean(err), "")
			return "", false
		}
	} else if slices.ContainsFunc(d.findings, func(f Finding) bool { return f.Name == "staging" && f.Status == Fail }) {
		d.skip("no table can be made in the staging dataset, which is also the one to write to", "write")
		return "", false
	}
	detail = "tables can be made in " + set.String()
	if d.Write.Mode != Suppression {
		return detail, true
	}
	if _, found, err := d.c.metadata(ctx, d.suppression()); err == nil && found {
		if _, ok := d.may(ctx, d.suppression(), []string{"bigquery.tables.getData", "bigquery.tables.updateData"}, role); !ok {
			return "", false
		}
		detail += ", " + d.suppression().String() + " can be changed"
	}
	return detail, true
}

// views checks whether views are authorized already: whether they can be
// shows only when it is tried.
func (d *doctor) views() {
	switch {
	case d.Write.Mode != Suppression || !d.Write.Views || d.Query != "":
		d.skip("there are no views", "views")
		return
	case !d.Write.Authorized:
		d.add("views", OK, "whoever reads the views needs to be allowed to read the table", "")
		return
	case d.sourceSet == nil:
		d.add("views", Skip, "the source dataset cannot be seen: to authorize views takes bigquery.datasets.get and bigquery.datasets.update", d.grant(authorizer))
		return
	}
	missing := []string{}
	for _, suffix := range []string{"_active", "_suppressed"} {
		v := d.Write.Dataset.In(d.Ref.Table + suffix)
		if !slices.ContainsFunc(d.sourceSet.Access, func(a *bigquery.AccessEntry) bool {
			return a.View != nil && a.View.ProjectID == v.Project && a.View.DatasetID == v.Dataset && a.View.TableID == v.Table
		}) {
			missing = append(missing, v.String())
		}
	}
	if len(missing) == 0 {
		d.add("views", OK, "the views are authorized", "")
		return
	}
	d.add("views", Skip, "not authorized yet: "+strings.Join(missing, ", ")+"; whether a run may do so cannot be checked without trying: it takes bigquery.datasets.update", d.grant(authorizer))
}
