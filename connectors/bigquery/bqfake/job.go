package bqfake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
)

// stepLabel is the label of jobs that tells what they are for.
const stepLabel = "optsweep_step"

type job struct {
	call   Call
	ref    *bq.JobReference
	conf   *bq.JobConfiguration
	file   []byte // of a load
	fate   Fate
	polls  int
	done   bool
	failed *bq.ErrorProto
	result result
	billed int64
}

func (j *job) labels() map[string]string { return j.conf.Labels }

// result is what a statement came to.
type result struct {
	kind   string // statement type
	schema []*bq.TableFieldSchema
	rows   []Row
	dml    *bq.DmlStatistics
}

// affected is the number of rows that were changed.
func (r result) affected() int64 {
	if r.dml == nil {
		return 0
	}
	return r.dml.DeletedRowCount + r.dml.InsertedRowCount + r.dml.UpdatedRowCount
}

// Job is a job that was started, dry runs left out.
type Job struct {
	ID       string
	Step     string
	Labels   map[string]string
	SQL      string
	MaxBytes int64
	Timeout  int64 // ms
	Done     bool
	Reason   string // that it failed for
	Affected int64  // rows that it changed, of a load: that it loaded
}

// Jobs lists the jobs in the order in which they came.
func (s *Server) Jobs() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Job
	for _, j := range s.order {
		out := Job{
			ID: j.ref.JobId, Step: j.labels()[stepLabel], Labels: maps.Clone(j.labels()), Timeout: j.conf.JobTimeoutMs,
			Done: j.done, Affected: j.result.affected(),
		}
		if q := j.conf.Query; q != nil {
			out.SQL, out.MaxBytes = q.Query, q.MaximumBytesBilled
		}
		if j.failed != nil {
			out.Reason = j.failed.Reason
		}
		list = append(list, out)
	}
	return list
}

// Finish ends the jobs that run.
func (s *Server) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.order {
		if !j.done {
			j.polls, j.fate.Polls = 0, 0
			s.advance(j)
		}
	}
}

// routeInsert finds the job in a request that starts one.
func (s *Server) routeInsert(r *http.Request, project, uploadType string, body []byte) (Call, func(Call) answer) {
	meta, file, err := body, []byte(nil), error(nil)
	if uploadType == "multipart" {
		meta, file, err = splitUpload(r.Header.Get("Content-Type"), body)
	}
	var in bq.Job
	if err == nil {
		err = json.Unmarshal(meta, &in)
	}
	if err != nil || in.Configuration == nil {
		return Call{Method: "jobs.insert"}, func(Call) answer {
			return failure(http.StatusBadRequest, "invalid", fmt.Sprintf("no job in the request: %v", err))
		}
	}
	call := callOf(&in)
	if uploadType == "resumable" {
		call.Method = "jobs.upload"
		return call, func(Call) answer { return s.beginUpload(r.Host, project, &in) }
	}
	return call, func(c Call) answer { return s.insertJob(c, project, &in, file) }
}

func callOf(in *bq.Job) Call {
	c := Call{Method: "jobs.insert", Labels: in.Configuration.Labels, Step: in.Configuration.Labels[stepLabel], DryRun: in.Configuration.DryRun}
	if in.JobReference != nil {
		c.Target = in.JobReference.JobId
	}
	if in.Configuration.Query != nil {
		c.SQL = in.Configuration.Query.Query
	}
	return c
}

func (s *Server) insertJob(c Call, project string, in *bq.Job, file []byte) answer {
	j := &job{call: c, conf: in.Configuration, file: file}
	s.serial++
	j.ref = &bq.JobReference{ProjectId: project, JobId: fmt.Sprintf("job_%d", s.serial), Location: "EU"}
	if in.JobReference != nil && in.JobReference.JobId != "" {
		j.ref.JobId = in.JobReference.JobId
	}
	if s.jobs[j.ref.JobId] != nil && !c.DryRun {
		return failure(http.StatusConflict, "duplicate", "Already Exists: Job "+project+":EU."+j.ref.JobId)
	}
	if q := j.conf.Query; q != nil {
		st, fault := s.parse(q.Query)
		if fault == nil && c.DryRun {
			return s.dryRun(j, st)
		}
		if fault != nil && (c.DryRun || fault.Reason == "invalidQuery") {
			return failure(statusOf(fault.Reason), fault.Reason, fault.Message)
		}
	}
	s.jobs[j.ref.JobId] = j
	s.order = append(s.order, j)
	j.fate = s.fateOf(c)
	j.polls = j.fate.Polls
	s.advance(j)
	return success(j.resource())
}

func (s *Server) dryRun(j *job, st *statement) answer {
	var bytes int64
	for _, t := range st.reads {
		if t.dry > 0 {
			bytes += t.dry
		} else {
			bytes += t.size()
		}
	}
	r := j.resource()
	r.Status = &bq.JobStatus{State: "DONE"}
	r.Statistics = &bq.JobStatistics{TotalBytesProcessed: bytes, Query: &bq.JobStatistics2{TotalBytesProcessed: bytes, StatementType: st.kind}}
	return success(r)
}

// advance ends a job whose time has come.
func (s *Server) advance(j *job) {
	if j.done || j.polls != 0 {
		return
	}
	j.done = true
	switch {
	case j.fate.Reason != "":
		j.failed = &bq.ErrorProto{Reason: j.fate.Reason, Message: j.fate.Message}
	case j.fate.Idle:
		j.result = result{kind: "MERGE", dml: &bq.DmlStatistics{}}
	case j.conf.Load != nil:
		j.result, j.failed = s.load(j.conf.Load, j.file)
	default:
		s.runQuery(j)
	}
	j.file = nil
}

func (s *Server) runQuery(j *job) {
	q := j.conf.Query
	st, fault := s.parse(q.Query)
	if fault != nil {
		j.failed = fault
		return
	}
	for _, t := range st.reads {
		j.billed += t.size()
	}
	if q.MaximumBytesBilled > 0 && j.billed > q.MaximumBytesBilled {
		j.failed = &bq.ErrorProto{Reason: "bytesBilledLimitExceeded", Message: fmt.Sprintf("Query exceeded limit for bytes billed: %d. %d or higher required.", q.MaximumBytesBilled, j.billed)}
		j.billed = 0
		return
	}
	if t := st.target; t != nil && t.streaming > 0 {
		j.failed = &bq.ErrorProto{Reason: "invalidQuery", Message: "UPDATE or DELETE statement over table " + t.name + " would affect rows in the streaming buffer, which is not supported"}
		return
	}
	j.result = st.run()
	j.result.kind = st.kind
	if dst := q.DestinationTable; dst != nil {
		s.replace(dst, j.result, q.Clustering)
	}
}

// replace puts rows into a table in place of all others.
func (s *Server) replace(dst *bq.TableReference, r result, cluster *bq.Clustering) {
	name := dst.ProjectId + "." + dst.DatasetId + "." + dst.TableId
	t := s.tables[name]
	if t == nil {
		t = &table{name: name}
		s.tables[name] = t
	}
	t.schema, t.rows, t.cluster = r.schema, slices.Clone(r.rows), cluster
	s.changed(t)
}

func (j *job) resource() *bq.Job {
	r := &bq.Job{Id: j.ref.ProjectId + ":" + j.ref.Location + "." + j.ref.JobId, JobReference: j.ref, Configuration: j.conf, Status: &bq.JobStatus{State: "DONE"}, Statistics: &bq.JobStatistics{CreationTime: 1, StartTime: 1}}
	switch {
	case !j.done && j.polls == j.fate.Polls:
		r.Status.State = "PENDING"
	case !j.done:
		r.Status.State = "RUNNING"
	case j.failed != nil:
		r.Status.ErrorResult, r.Status.Errors = j.failed, []*bq.ErrorProto{j.failed}
	}
	switch {
	case !j.done:
	case j.conf.Load != nil:
		r.Statistics.Load = &bq.JobStatistics3{OutputRows: j.result.affected()}
	default:
		r.Statistics.TotalBytesProcessed = j.billed
		r.Statistics.Query = &bq.JobStatistics2{StatementType: j.result.kind, TotalBytesBilled: j.billed, TotalBytesProcessed: j.billed}
		if j.result.kind != "SCRIPT" {
			r.Statistics.Query.NumDmlAffectedRows, r.Statistics.Query.DmlStats = j.result.affected(), j.result.dml
		}
	}
	return r
}

func (s *Server) getJob(id string) answer {
	j := s.jobs[id]
	if j == nil {
		return failure(http.StatusNotFound, "notFound", "Not found: Job "+id)
	}
	a := success(j.resource()) // a job ends after it was asked about for the last time
	if j.polls > 0 {
		j.polls--
		s.advance(j)
	}
	return a
}

func (s *Server) queryResults(id string, query url.Values) answer {
	j := s.jobs[id]
	if j == nil {
		return failure(http.StatusNotFound, "notFound", "Not found: Job "+id)
	}
	if !j.done {
		if j.polls > 0 {
			j.polls--
			s.advance(j)
		}
		return success(&bq.GetQueryResultsResponse{JobReference: j.ref})
	}
	if j.failed != nil {
		return failure(statusOf(j.failed.Reason), j.failed.Reason, j.failed.Message)
	}
	r := &bq.GetQueryResultsResponse{JobReference: j.ref, JobComplete: true, Schema: &bq.TableSchema{Fields: j.result.schema}, TotalRows: uint64(len(j.result.rows))}
	if query.Get("maxResults") != "0" {
		r.Rows, r.PageToken = page(j.result.schema, j.result.rows, query)
	}
	return success(r)
}

// routeQuery serves jobs.query: a query that needs no job of its own.
func (s *Server) routeQuery(project string, body []byte) (Call, func(Call) answer) {
	var in bq.QueryRequest
	err := json.Unmarshal(body, &in)
	call := Call{Method: "jobs.query", Labels: in.Labels, Step: in.Labels[stepLabel], SQL: in.Query, DryRun: in.DryRun}
	return call, func(c Call) answer {
		if err != nil {
			return failure(http.StatusBadRequest, "invalid", err.Error())
		}
		a := s.insertJob(c, project, &bq.Job{Configuration: &bq.JobConfiguration{
			Labels: in.Labels, DryRun: in.DryRun, Query: &bq.JobConfigurationQuery{Query: in.Query, MaximumBytesBilled: in.MaximumBytesBilled},
		}}, nil)
		if a.status != http.StatusOK || in.DryRun {
			return a
		}
		j := s.order[len(s.order)-1]
		if j.failed != nil {
			return failure(statusOf(j.failed.Reason), j.failed.Reason, j.failed.Message)
		}
		r := &bq.QueryResponse{JobReference: j.ref, JobComplete: j.done, TotalRows: uint64(len(j.result.rows)), Schema: &bq.TableSchema{Fields: j.result.schema}}
		for _, row := range j.result.rows {
			r.Rows = append(r.Rows, row.json(j.result.schema))
		}
		return success(r)
	}
}

// statusOf is the HTTP status that goes with a reason (BigQuery, error
// messages, table of errors).
func statusOf(reason string) int {
	switch {
	case reason == "notFound":
		return http.StatusNotFound
	case reason == "backendError":
		return http.StatusServiceUnavailable
	case reason == "internalError":
		return http.StatusInternalServerError
	case reason == "accessDenied", strings.HasSuffix(reason, "Exceeded") && reason != "bytesBilledLimitExceeded":
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}
