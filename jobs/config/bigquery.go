package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Shapes of names in BigQuery. What else they must be, the connector knows.
var (
	projectName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]*$`)
	datasetName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]*\.[A-Za-z0-9_]+$`)
	fullTableName = regexp.MustCompile("^[a-z0-9][a-z0-9.:-]*\\.[A-Za-z0-9_]+\\.[^.`\\\\\"']+$")
	columnPath    = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\[\])?(\.[\pL_][\pL\pN_]*(\[\])?)*$`)
	locationName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
	reservation   = regexp.MustCompile(`^projects/[^/\s]+/locations/[^/\s]+/reservations/[^/\s]+$`)
	account       = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
)

const (
	wantDataset = "of the form project.dataset"
	wantTable   = "of the form project.dataset.table"
	wantColumn  = "a path to a column, such as euid, user.euid or ids[].value"
)

// bigQuery reads the connection, and what tables inherit of it.
func bigQuery(s *section) (BigQuery, BigQueryTable) {
	c := BigQuery{
		Project:      s.optional("project").matching(projectName, "the id of a project"),
		Reservation:  s.optional("reservation").matching(reservation, "of the form projects/P/locations/L/reservations/R"),
		MaxBytes:     s.optional("max_bytes_billed").size(DefaultMaxBytesBilled, 20<<20),
		USDPerTiB:    s.optional("usd_per_tib").amount(DefaultUSDPerTiB),
		JobTimeout:   s.optional("job_timeout").duration(DefaultJobTimeout),
		Expiry:       s.optional("staging_expiry").duration(DefaultStagingExpiry),
		KeyFile:      s.optional("key_file").path(),
		Impersonate:  s.optional("impersonate").matching(account, "the e-mail address of a service account"),
		Endpoint:     s.optional("endpoint").endpoint(),
		GRPCEndpoint: s.optional("grpc_endpoint").hostPort(),
		Insecure:     s.optional("insecure").boolean(),
		Runs:         s.optional("runs").matching(datasetName, wantDataset),
	}
	t := BigQueryTable{
		Location: s.optional("location").matching(locationName, "a location, such as EU or europe-west2"),
		Staging:  s.optional("staging").matching(datasetName, wantDataset),
	}
	c.Location, c.Staging = t.Location, t.Staging
	if c.Runs != "" {
		s.require("staging")
	}
	if c.Insecure && s.at.present() {
		s.require("endpoint", "grpc_endpoint")
		if host, _, err := net.SplitHostPort(c.GRPCEndpoint); err == nil && !onThisMachine(host) {
			s.entries["insecure"].fail("would show ids to the network", "it is for servers on this machine only")
		}
	}
	s.done()
	return c, t
}

// needsBigQuery fills in what the tables say of the connection.
func (r *reader) needsBigQuery(job *Job, at value) {
	if !at.present() && !slices.ContainsFunc(job.Tables, func(t Table) bool { return t.BigQuery != nil }) {
		job.BigQuery = BigQuery{}
		return
	}
	for _, t := range job.Tables {
		if t.BigQuery == nil || job.BigQuery.Project != "" {
			continue
		}
		if name := strings.Split(t.BigQuery.Table, "."); len(name) >= 3 {
			job.BigQuery.Project = strings.Join(name[:len(name)-2], ".")
		} else if !at.present() || t.BigQuery.Query != "" {
			at.key = "bigquery.project"
			at.fail("is missing: a query does not say who pays", "name the project that runs the jobs")
			return
		}
	}
}

// bigQueryTable reads what a table is.
func bigQueryTable(s *section, defaults BigQueryTable) *BigQueryTable {
	t := defaults
	t.Table = s.optional("table").matching(fullTableName, wantTable)
	t.Query = s.optional("query").sql()
	if _, query := s.entries["query"]; query {
		s.refuse("is not for a query", "remove one of the two", "table")
	} else {
		s.require("table")
	}
	t.IDColumns = idColumns(s.required("id_column"))
	t.Filter = s.optional("filter").sql()
	if v := s.optional("partitions"); v.present() {
		for _, item := range v.items() {
			t.Partitions = append(t.Partitions, item.sql())
		}
	}
	if v := s.optional("location"); v.present() {
		t.Location = v.matching(locationName, "a location, such as EU or europe-west2")
	}
	if v := s.optional("staging"); v.present() {
		t.Staging = v.matching(datasetName, wantDataset)
	}
	if t.Staging == "" && s.at.present() {
		s.at.fail("has no dataset for staging tables", "add staging: project.dataset here or under bigquery; its tables expire")
	}
	s.done()
	return &t
}

// idColumns reads one path or a list of them.
func idColumns(v value) []string {
	if !v.present() {
		return nil
	}
	if s, single := v.textOrList(); single {
		if !columnPath.MatchString(s) {
			v.fail("must be "+wantColumn, "")
		}
		return []string{s}
	}
	var paths []string
	for _, item := range v.items() {
		paths = append(paths, item.matching(columnPath, wantColumn))
	}
	return paths
}

// bigQueryWrite reads how opt-outs are written back. The mode is never
// guessed.
func bigQueryWrite(at value, t *BigQueryTable) Write {
	s := at.section()
	if !at.present() || isNull(at.node) {
		at.fail("is missing", "choose write: {mode: suppression, dataset: project.dataset}, {mode: column} or {mode: remove, dataset: ...}")
	}
	w := Write{Mode: WriteMode(s.required("mode").oneOf(string(Column), string(Suppression), string(Remove))), Stream: s.optional("stream").boolean()}
	column := s.optional("column")
	dataset := s.optional("dataset")
	view, authorized, keep := s.optional("view"), s.optional("authorized"), s.optional("keep")
	switch w.Mode {
	case Column:
		w.Column = DefaultColumn
		if column.present() {
			w.Column = column.matching(simpleColumn, "the name of a column: letters, digits and '_'")
		}
		s.refuse("is not for mode column", "remove it", "dataset", "view", "authorized", "keep")
	case Suppression:
		w.Dataset = dataset.matching(datasetName, wantDataset)
		w.View = !view.present() || view.boolean()
		w.Authorized = authorized.boolean()
		s.require("dataset")
		s.refuse("is not for mode suppression", "remove it", "column", "keep")
	case Remove:
		w.Drop = keep.present() && !keep.boolean()
		if !w.Drop {
			s.require("dataset")
		}
		w.Dataset = dataset.matching(datasetName, wantDataset)
		s.refuse("is not for mode remove", "remove it", "column", "view", "authorized")
	}
	if t.Query != "" && w.Mode != Suppression && w.Mode != "" {
		at.fail("a query can only be reconciled with mode suppression", "nothing can be written into it")
	}
	s.done()
	return w
}

var simpleColumn = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// endpoint reads the URL of a REST API.
func (v value) endpoint() string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		v.fail("must be a URL", "such as https://bigquery.googleapis.com")
		return ""
	}
	if u.Scheme == "http" && !onThisMachine(u.Hostname()) {
		v.fail("plain HTTP would show credentials and ids to the network", "use https; plain HTTP is for this machine only")
	}
	return s
}

// hostPort reads the address of a gRPC server.
func (v value) hostPort() string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
		v.fail("must be a host and a port", "such as bigquerystorage.googleapis.com:443")
		return ""
	}
	return s
}
