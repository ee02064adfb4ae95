package bigquery

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"optsweep/schemas"
)

// Status is the result of one check of Doctor.
type Status string

// The results, from good to bad; a check is skipped when another one failed or
// when it does not apply.
const (
	OK   Status = "ok"
	Skip Status = "skip"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Finding is one check of Doctor.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // may have several lines
}

// Deadlines of all checks of one table, and of the first of them.
const (
	doctorDeadline      = 2 * time.Minute
	credentialsDeadline = 15 * time.Second
)

// probePrefix begins the names of tables that Doctor makes and removes.
const probePrefix = "optsweep_doctor_"

// Doctor finds out whether a run can treat the table, and how to grant what it
// lacks. It always returns the same checks in the same order: credentials,
// jobs, table, read, location, staging, expiry, read_api, write_api, write,
// views. It changes nothing but empty tables of its own, which it removes.
//
// Row-level security shows in no permission: a run compares the rows that it
// sees with those that there are.
func (t *Table) Doctor(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorDeadline)
	defer cancel()
	d := &doctor{Table: t, account: accountOf(t.c.Connection)}
	if !d.credentials(ctx) {
		d.skip("the credentials are not usable", "table", "read", "location", "staging", "expiry", "read_api", "write_api", "write", "views")
		return d.findings
	}
	m := d.table(ctx)
	d.reading(ctx, m)
	d.location(ctx)
	d.staging(ctx)
	d.writing(ctx, m)
	d.views()
	return d.findings
}

type doctor struct {
	*Table
	account  string
	findings []Finding

	sourceSet, stagingSet, writeSet *bigquery.DatasetMetadata // nil: not seen
}

func (d *doctor) add(name string, status Status, detail, fix string) {
	d.findings = append(d.findings, Finding{Name: name, Status: status, Detail: detail, Fix: fix})
}

func (d *doctor) skip(why string, names ...string) {
	for _, name := range names {
		d.add(name, Skip, why, "")
	}
}

// fail adds a check that failed with err. If something is not allowed, a grant
// of roles on resources is what helps.
func (d *doctor) fail(name string, err error, roles ...string) {
	fix := schemas.HintOf(err)
	if isDenied(err) {
		fix = d.grant(roles...)
	}
	d.add(name, Fail, clean(err), fix)
}

// grant says how to grant roles that the table needs: of each, those on all
// resources that it is needed on.
func (d *doctor) grant(roles ...string) string {
	var lines []string
	for _, g := range grants(d.Options, d.c.Connection) {
		for _, want := range roles {
			if role, on, _ := strings.Cut(want, " on "); role == g.role && (on == "" || on == g.resource()) {
				lines = append(lines, g.fix(d.account))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// isDenied tells whether a permission is missing.
func isDenied(err error) bool {
	return codeOf(err) == http.StatusForbidden || reasonOf(err) == "accessDenied" || status.Code(err) == codes.PermissionDenied
}

// credentials asks for the price of nothing, for which any answer will do.
func (d *doctor) credentials(ctx context.Context) (usable bool) {
	ctx, cancel := context.WithTimeout(ctx, credentialsDeadline)
	defer cancel()
	q := d.c.query("SELECT 1")
	q.DryRun, q.MaxBytesBilled = true, 0
	_, err := q.Run(ctx)
	switch code := codeOf(err); {
	case err == nil:
		d.add("credentials", OK, "accepted, as "+d.account, "")
		d.add("jobs", OK, "jobs can be run in project "+d.c.Project, "")
		return true
	case code == 0 || code == http.StatusUnauthorized:
		d.add("credentials", Fail, "BigQuery cannot be asked: "+clean(err), schemas.HintOf(credentialsError(err)))
		d.skip("the credentials are not usable", "jobs")
		return false
	case reasonOf(err) == "accessNotConfigured":
		d.add("credentials", OK, "accepted, as "+d.account, "")
		d.add("jobs", Fail, clean(err), "gcloud services enable bigquery.googleapis.com bigquerystorage.googleapis.com --project="+d.c.Project)
	default:
		d.add("credentials", OK, "accepted, as "+d.account, "")
		d.fail("jobs", explain(err, "run a query in project %s", d.c.Project), jobUser)
	}
	return true
}

func (d *doctor) table(ctx context.Context) *bigquery.TableMetadata {
	if d.Query != "" {
		d.skip("the rows come from a query", "table")
		return nil
	}
	m, err := d.inspect(ctx)
	if err != nil {
		d.fail("table", err, d.reader())
		return nil
	}
	d.add("table", OK, fmt.Sprintf("%s has %d rows, %s", d.Ref, m.NumRows, size(m.NumBytes)), "")
	return m
}

// reader is the role that lets read the source.
func (d *doctor) reader() string {
	if d.Write.Mode == Suppression {
		return dataViewer
	}
	return dataEditor + " on table " + d.Ref.String()
}

// listPrice is what a TiB costs on demand, in USD (BigQuery pricing, US).
const listPrice = 6.25

// reading asks what a run would read.
func (d *doctor) reading(ctx context.Context, m *bigquery.TableMetadata) {
	if m == nil && d.Query == "" {
		d.skip("the table cannot be seen", "read")
		return
	}
	var total int64
	for _, p := range d.parts() {
		sql, err := d.stageSQL(ctx, d.Table.source(p.predicate), m)
		if err == nil {
			var n int64
			n, err = d.c.price(ctx, "reading the ids", sql)
			total += n
		}
		if err != nil {
			d.fail("read", err, jobUser, d.reader())
			return
		}
	}
	d.add("read", OK, fmt.Sprintf("a run reads %s: %.2f USD on demand, at the list price of %.2f USD for a TiB", size(total), float64(total)/(1<<40)*listPrice, listPrice), "")
}

// size is a number of bytes for people.
func size(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// place is a dataset that a run uses.
type place struct {
	what string
	ref  TableRef
	meta **bigquery.DatasetMetadata
}

// location compares where the datasets are: a job cannot read in one location
// and write in another.
func (d *doctor) location(ctx context.Context) {
	places := []place{{"staging", dataset(d.c.Staging), &d.stagingSet}}
	if d.Query == "" {
		places = append([]place{{"source", dataset(d.Ref), &d.sourceSet}}, places...)
	}
	if d.ownTables() {
		places = append(places, place{"write", dataset(d.Write.Dataset), &d.writeSet})
	}
	var seen, unseen []string
	first, differ := d.c.Location, false
	var missing *TableRef
	for _, p := range places {
		m, err := d.dataset(ctx, p.ref)
		if err != nil {
			unseen = append(unseen, fmt.Sprintf("%s dataset %s: %s", p.what, p.ref, clean(err)))
			if isNotFound(err) && missing == nil {
				missing = &p.ref
			}
			continue
		}
		*p.meta = m
		seen = append(seen, fmt.Sprintf("%s dataset %s is in %s", p.what, p.ref, m.Location))
		if first == "" {
			first = m.Location
		}
		differ = differ || !strings.EqualFold(m.Location, first)
	}
	detail := strings.Join(append(seen, unseen...), "; ")
	switch {
	case differ:
		d.add("location", Fail, detail+"; bigquery.location is "+orNone(d.c.Location), d.move())
	case missing != nil:
		d.add("location", Fail, detail, "make it: bq mk --dataset --location="+orEU(first)+" "+colon(*missing))
	case len(unseen) > 0:
		d.add("location", Skip, detail, "")
	default:
		d.add("location", OK, detail, "")
	}
}

func (d *doctor) dataset(ctx context.Context, r TableRef) (m *bigquery.DatasetMetadata, err error) {
	err = d.c.retry(ctx, func(ctx context.Context) (err error) {
		m, err = d.c.bq.DatasetInProject(r.Project, r.Dataset).Metadata(ctx)
		return err
	})
	return m, err
}

// move says how to bring everything to the place where the data is.
func (d *doctor) move() string {
	source := d.sourceSet
	if source == nil {
		source = d.stagingSet
	}
	if source == nil {
		return "keep all datasets in one location"
	}
	fixes := []string{"set bigquery.location: " + source.Location}
	if m := d.stagingSet; m != nil && !strings.EqualFold(m.Location, source.Location) {
		fixes = append(fixes, "name a staging dataset there; to make one: bq mk --dataset --location="+source.Location+" "+d.c.Staging.Project+":DATASET")
	}
	if m := d.writeSet; m != nil && !strings.EqualFold(m.Location, source.Location) {
		fixes = append(fixes, "name a write.dataset there; to make one: bq mk --dataset --location="+source.Location+" "+d.Write.Dataset.Project+":DATASET")
	}
	return strings.Join(fixes, "\n")
}

// colon is the name that bq takes.
func colon(r TableRef) string {
	name := r.Project + ":" + r.Dataset
	if r.Table != "" {
		name += "." + r.Table
	}
	return name
}

func orNone(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

func orEU(s string) string {
	if s == "" {
		return "EU"
	}
	return s
}

// staging makes a table in the staging dataset and tries it out.
func (d *doctor) staging(ctx context.Context) {
	probe := d.c.Staging.In(probePrefix + strings.ToLower(rand.Text()[:12]))
	err := d.probe(ctx, probe)
	if err != nil {
		d.fail("staging", err, dataEditor+" on dataset "+dataset(d.c.Staging).String())
	} else {
		d.add("staging", OK, "tables can be made in "+dataset(d.c.Staging).String(), "")
	}
	d.expiry()
	if err != nil {
		d.skip("no table could be made to try it on", "read_api", "write_api")
		return
	}
	d.readAPI(ctx, probe)
	d.writeAPI(ctx, probe)
	if err := d.removeProbe(ctx, probe); err != nil {
		d.set("staging", Warn, "a table of this check could not be removed; it goes away within an hour: "+clean(err), "")
	}
}

// set changes a finding.
func (d *doctor) set(name string, status Status, detail, fix string) {
	for i := range d.findings {
		if d.findings[i].Name == name {
			d.findings[i] = Finding{name, status, detail, fix}
		}
	}
}

// probe makes an empty table that goes away by itself.
func (d *doctor) probe(ctx context.Context, r TableRef) error {
	return d.c.create(ctx, r, &bigquery.TableMetadata{
		Schema: hitsSchema(), ExpirationTime: d.c.Now().Add(time.Hour), Description: "made by optsweep doctor; may be removed",
	})
}

func (d *doctor) removeProbe(ctx context.Context, r TableRef) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return d.c.retry(ctx, func(ctx context.Context) error {
		err := d.c.table(r).Delete(ctx)
		if isNotFound(err) {
			return nil
		}
		return err
	})
}

// expiry looks at what tables a run leaves behind if it is killed between
// making one and letting it expire, unless the dataset sees to it. A dataset
// that also holds tables that stay must not.
func (d *doctor) expiry() {
	m := d.stagingSet
	shared := d.ownTables() && dataset(d.Write.Dataset) == dataset(d.c.Staging)
	switch {
	case m == nil:
		d.skip("the staging dataset cannot be seen: that takes bigquery.datasets.get", "expiry")
	case shared:
		d.skip("the staging dataset also keeps tables that stay; a run that is killed may leave a staging table behind", "expiry")
	case m.DefaultTableExpiration > 0:
		d.add("expiry", OK, fmt.Sprintf("tables in the staging dataset expire after %s", m.DefaultTableExpiration), "")
	default:
		d.add("expiry", Warn, "staging tables expire by themselves, but a run that is killed at the wrong moment may leave one behind",
			fmt.Sprintf("bq update --default_table_expiration=%d %s", int64(d.c.Expiry.Seconds()), colon(dataset(d.c.Staging))))
	}
}

func (d *doctor) readAPI(ctx context.Context, probe TableRef) {
	err := d.c.retry(ctx, func(ctx context.Context) error {
		_, err := d.c.read.CreateReadSession(ctx, &storagepb.CreateReadSessionRequest{
			Parent: "projects/" + d.c.Project, MaxStreamCount: 1,
			ReadSession: &storagepb.ReadSession{Table: resource(probe), DataFormat: storagepb.DataFormat_ARROW},
		})
		return err
	})
	switch code := status.Code(err); {
	case err == nil:
		d.add("read_api", OK, "the Storage Read API can be used", "")
	case code == codes.PermissionDenied || code == codes.Unimplemented:
		d.add("read_api", Warn, "the Storage Read API cannot be used, so reads fall back to slow REST: "+clean(err), d.grant(readSessionUser))
	default:
		d.add("read_api", Fail, clean(err), advice(err))
	}
}

// writeAPI makes a stream that nobody commits.
func (d *doctor) writeAPI(ctx context.Context, probe TableRef) {
	if !d.Write.Stream {
		d.skip("load jobs are used", "write_api")
		return
	}
	if _, err := d.c.newStream(ctx, resource(probe)); err != nil {
		d.fail("write_api", err, dataEditor+" on dataset "+dataset(d.c.Staging).String())
		return
	}
	d.add("write_api", OK, "the Storage Write API can be used", "")
}

// resource is the name of a table in the Storage APIs.
func resource(r TableRef) string {
	return fmt.Sprintf("projects/%s/datasets/%s/tables/%s", r.Project, r.Dataset, r.Table)
}
