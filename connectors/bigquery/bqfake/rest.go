package bqfake

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
)

// answer is a whole HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func success(v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return failure(http.StatusNotImplemented, "notImplemented", err.Error())
	}
	return answer{status: http.StatusOK, body: body}
}

func failure(status int, reason, message string) answer {
	type object = map[string]any
	body, _ := json.Marshal(object{"error": object{
		"code": status, "message": message, "errors": []object{{"domain": "global", "reason": reason, "message": message}},
	}})
	return answer{status: status, body: body}
}

// ServeHTTP serves the REST API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	call, serve := s.route(r, body)
	f := s.arrive(call)
	var a answer
	if !f.fails() || f.Stored {
		s.mu.Lock()
		a = serve(call)
		s.mu.Unlock()
	}
	switch {
	case f.Close:
		panic(http.ErrAbortHandler)
	case f.fails():
		a = failure(f.Status, f.Reason, f.Message)
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// route finds what a request asks for. serve runs with the server locked.
func (s *Server) route(r *http.Request, body []byte) (Call, func(Call) answer) {
	path := r.URL.Path
	for _, prefix := range []string{"/resumable", "/upload", "/bigquery/v2"} {
		path = strings.TrimPrefix(path, prefix)
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		parts[i], _ = url.PathUnescape(p)
	}
	at := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	query := r.URL.Query()
	project, kind := at(1), at(2)
	switch {
	case query.Get("upload_id") != "":
		return s.routeChunk(r, query.Get("upload_id"), body)
	case kind == "jobs" && len(parts) == 3 && r.Method == http.MethodPost:
		return s.routeInsert(r, project, query.Get("uploadType"), body)
	case kind == "jobs" && len(parts) == 4 && r.Method == http.MethodGet:
		return s.aboutJob("jobs.get", at(3)), func(c Call) answer { return s.getJob(c.Target) }
	case kind == "queries" && len(parts) == 4 && r.Method == http.MethodGet:
		return s.aboutJob("jobs.getQueryResults", at(3)), func(c Call) answer { return s.queryResults(c.Target, query) }
	case kind == "queries" && len(parts) == 3 && r.Method == http.MethodPost:
		return s.routeQuery(project, body)
	case kind == "datasets":
		return s.routeData(r, project, parts[3:], query, body)
	}
	return unknown(r)
}

func unknown(r *http.Request) (Call, func(Call) answer) {
	return Call{Method: "unknown", Target: r.URL.Path}, func(Call) answer {
		return failure(http.StatusNotImplemented, "notImplemented", "bqfake: "+r.Method+" "+r.URL.Path)
	}
}

// aboutJob is a call about a job that is there already.
func (s *Server) aboutJob(method, id string) Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Call{Method: method, Target: id}
	if j := s.jobs[id]; j != nil {
		c.Step = j.labels()[stepLabel]
	}
	return c
}

// routeData serves datasets and what is in them; parts is the path behind
// datasets.
func (s *Server) routeData(r *http.Request, project string, parts []string, query url.Values, body []byte) (Call, func(Call) answer) {
	ifMatch := r.Header.Get("If-Match")
	switch len(parts) {
	case 0:
		if r.Method == http.MethodPost {
			return Call{Method: "datasets.insert"}, func(Call) answer { return s.insertDataset(project, body) }
		}
	case 1:
		name := project + "." + parts[0]
		switch r.Method {
		case http.MethodGet:
			return Call{Method: "datasets.get", Target: name}, func(c Call) answer { return s.getDataset(c.Target) }
		case http.MethodPatch:
			return Call{Method: "datasets.patch", Target: name}, func(c Call) answer { return s.patchDataset(c.Target, ifMatch, body) }
		}
	case 2:
		dataset := project + "." + parts[0]
		switch r.Method {
		case http.MethodGet:
			return Call{Method: "tables.list", Target: dataset}, func(c Call) answer { return s.listTables(c.Target) }
		case http.MethodPost:
			return Call{Method: "tables.insert", Target: dataset}, func(Call) answer { return s.insertTable(body) }
		}
	case 3:
		return s.routeTable(r, project+"."+parts[0]+"."+parts[2], ifMatch, body)
	case 4:
		if parts[3] == "data" && r.Method == http.MethodGet {
			return Call{Method: "tabledata.list", Target: project + "." + parts[0] + "." + parts[2]}, func(c Call) answer { return s.listData(c.Target, query) }
		}
	}
	return unknown(r)
}

func (s *Server) routeTable(r *http.Request, name, ifMatch string, body []byte) (Call, func(Call) answer) {
	if name, ok := strings.CutSuffix(name, ":testIamPermissions"); ok {
		return Call{Method: "tables.testIamPermissions", Target: name}, func(c Call) answer { return s.permissions(body) }
	}
	switch r.Method {
	case http.MethodGet:
		return Call{Method: "tables.get", Target: name}, func(Call) answer {
			if t := s.tables[name]; t != nil {
				return success(t.resource())
			}
			return noTable(name)
		}
	case http.MethodPatch:
		return Call{Method: "tables.patch", Target: name}, func(Call) answer { return s.patchTable(name, ifMatch, body) }
	case http.MethodDelete:
		return Call{Method: "tables.delete", Target: name}, func(Call) answer {
			if s.tables[name] == nil {
				return noTable(name)
			}
			delete(s.tables, name)
			return answer{status: http.StatusNoContent}
		}
	}
	return unknown(r)
}

func (s *Server) insertDataset(project string, body []byte) answer {
	var d bq.Dataset
	if err := json.Unmarshal(body, &d); err != nil || d.DatasetReference == nil {
		return failure(http.StatusBadRequest, "invalid", "no dataset in the request")
	}
	name := project + "." + d.DatasetReference.DatasetId
	if s.datasets[name] != nil {
		return failure(http.StatusConflict, "duplicate", "Already Exists: Dataset "+name)
	}
	s.datasets[name] = &dataset{meta: d}
	return s.getDataset(name)
}

func (s *Server) getDataset(name string) answer {
	d := s.datasets[name]
	if d == nil {
		return failure(http.StatusNotFound, "notFound", "Not found: Dataset "+name)
	}
	at := strings.LastIndexByte(name, '.')
	r := d.meta
	r.Etag, r.DatasetReference = quotedTag(d.etag), &bq.DatasetReference{ProjectId: name[:at], DatasetId: name[at+1:]}
	return success(&r)
}

func (s *Server) patchDataset(name, ifMatch string, body []byte) answer {
	d := s.datasets[name]
	if d == nil {
		return failure(http.StatusNotFound, "notFound", "Not found: Dataset "+name)
	}
	if ifMatch != "" && ifMatch != quotedTag(d.etag) {
		return failure(http.StatusPreconditionFailed, "conditionNotMet", "Precondition check failed.")
	}
	if err := json.Unmarshal(body, &d.meta); err != nil {
		return failure(http.StatusBadRequest, "invalid", err.Error())
	}
	d.etag++
	return s.getDataset(name)
}

func (s *Server) listTables(dataset string) answer {
	list := &bq.TableList{}
	for name, t := range s.tables {
		if strings.HasPrefix(name, dataset+".") {
			r := t.resource()
			list.Tables = append(list.Tables, &bq.TableListTables{Id: r.Id, TableReference: r.TableReference, Type: r.Type})
		}
	}
	list.TotalItems = int64(len(list.Tables))
	return success(list)
}

func (s *Server) permissions(body []byte) answer {
	var asked struct {
		Permissions []string `json:"permissions"`
	}
	_ = json.Unmarshal(body, &asked)
	granted := &bq.TestIamPermissionsResponse{}
	for _, p := range asked.Permissions {
		if !s.denied[p] {
			granted.Permissions = append(granted.Permissions, p)
		}
	}
	return success(granted)
}

func (s *Server) listData(name string, query url.Values) answer {
	t := s.tables[name]
	if t == nil {
		return noTable(name)
	}
	rows, next := page(t.schema, t.shown(), query)
	return success(&bq.TableDataList{Rows: rows, PageToken: next, TotalRows: int64(len(t.shown()))})
}

// page is a page of rows as JSON, and the token of the next one.
func page(schema []*bq.TableFieldSchema, rows []Row, query url.Values) ([]*bq.TableRow, string) {
	from, _ := strconv.Atoi(query.Get("pageToken"))
	to := len(rows)
	if most := query.Get("maxResults"); most != "" {
		n, _ := strconv.Atoi(most)
		to = min(to, from+n)
	}
	var out []*bq.TableRow
	for _, r := range rows[from:to] {
		out = append(out, r.json(schema))
	}
	if to == len(rows) || to == from {
		return out, ""
	}
	return out, strconv.Itoa(to)
}
