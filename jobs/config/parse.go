package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"optsweep/schemas"
)

// maxFile is the largest job file, in bytes.
const maxFile = 256 << 10

// Load reads and validates the job file at path. Relative paths in it belong
// to its folder. The error is *Problems if the file was read.
func Load(path string) (*Job, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, schemas.Errorf(schemas.Usage, "there is no job file %s", path).
			WithHint("'optsweep init' writes one; --config names another")
	}
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "job file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "job file: %w", err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "job file: %w", err)
	}
	return Parse(path, data, filepath.Dir(absolute))
}

// Parse validates the job file in data. name stands for the file in messages;
// relative paths belong to baseDir. It reads no other file. The error is
// *Problems.
func Parse(name string, data []byte, baseDir string) (*Job, error) {
	r := &reader{file: name, baseDir: baseDir}
	job := &Job{File: name}
	if len(data) > maxFile {
		value{r: r, line: 1, column: 1}.fail(fmt.Sprintf("the file is larger than %d KiB", maxFile>>10), "")
	} else if doc, ok := r.document(data); ok {
		r.job(doc.section(), job)
		r.refuseIDs(data)
	}
	if len(r.problems) > 0 {
		return nil, &Problems{List: inOrder(r.problems)}
	}
	return job, nil
}

var (
	jobName   = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	tableName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
)

func (r *reader) job(s *section, job *Job) {
	s.required("version").version()
	job.Name = s.required("job").matching(jobName, "1 to 63 of a to z, 0 to 9 and '-'")
	job.Scope = schemas.Scope(s.required("scope").oneOf(string(schemas.EUID), string(schemas.UID2)))
	job.Environment = schemas.Environment(s.required("environment").
		oneOf(string(schemas.Production), string(schemas.Integration)))
	job.Operator = operator(s.required("operator").section())
	workspace := s.required("workspace")
	job.Workspace = workspace.path()
	job.Limits = limits(s.nullable("limits").section())
	connection := s.optional("bigquery")
	var defaults BigQueryTable
	job.BigQuery, defaults = bigQuery(connection.section())
	job.Tables = tables(s.required("tables"), workspace, job.Workspace, defaults)
	r.needsBigQuery(job, connection)
	job.RunTables = runTables(s.optional("run_tables"), job)
	job.Signals = signals(s)
	job.Schedule = readSchedule(s.optional("schedule"), job.Limits.MaxDuration)
	s.done()
}

func operator(s *section) Operator {
	var o Operator
	o.Kind = OperatorKind(s.required("kind").oneOf(string(Public), string(Private), string(Embedded)))
	o.AllowPlainHTTP = s.optional("allow_plain_http").hosts()
	o.URL = s.optional("url").url(o.AllowPlainHTTP)
	o.APIKey = s.optional("api_key").secretRef()
	o.ClientSecret = s.optional("client_secret").secretRef()
	o.Parallel = max(1, s.optional("parallel").integer(1, 64))
	o.Binary = s.optional("binary").boolean()
	o.CAFile = s.optional("ca_file").path()
	o.AllowHostMismatch = s.optional("allow_host_mismatch").boolean()
	o.OptOutLog = s.optional("optout_log").path()
	if v := s.optional("canaries"); v.present() {
		c := v.section()
		o.CanariesFile = c.required("file").path()
		c.done()
	}
	switch o.Kind {
	case Embedded:
		s.require("optout_log")
		s.refuse("is not for kind embedded, which asks no other machine", "remove it",
			"url", "api_key", "client_secret", "parallel", "binary", "ca_file", "allow_plain_http", "allow_host_mismatch")
	case Public:
		s.require("api_key", "client_secret")
		s.refuse("is only for kind private: a public operator takes one connection and one batch at a time", "remove it", "parallel")
		s.refuse("is only for kind embedded", "remove it", "optout_log")
	case Private:
		s.require("url", "api_key", "client_secret")
		s.refuse("is only for kind embedded", "remove it", "optout_log")
	}
	s.done()
	return o
}

func runTables(at value, job *Job) (r RunTables) {
	s := at.section()
	folder := s.optional("parquet")
	if r.Parquet = folder.path(); at.present() {
		s.require("parquet")
	}
	if problem := job.RunTablesIn(r.Parquet); problem != "" {
		folder.fail(problem, "choose another folder, such as ./run-tables")
	}
	s.done()
	return r
}

func limits(s *section) Limits {
	l := Limits{
		MemoryBytes:    s.optional("memory").size(DefaultMemoryBytes, 64<<20),
		MaxNewFlags:    s.optional("max_new_flags").percent(DefaultMaxNewFlags),
		MaxQuarantined: s.optional("max_quarantined").percent(DefaultMaxQuarantined),
		MaxRowDrop:     s.optional("max_row_drop").percent(DefaultMaxRowDrop),
		AllowZeroHits:  s.optional("zero_hits").oneOf("stop", "allow") == "allow",
		MaxDuration:    s.optional("max_duration").duration(DefaultMaxDuration),
		Workers:        s.optional("workers").integer(1, 256),
	}
	s.done()
	return l
}
