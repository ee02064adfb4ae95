package bqfake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// Row is a row of a table: strings, int64s and time.Times by column; NULL is
// nil or left out.
type Row map[string]any

// Field is a column.
func Field(name, kind string) *bq.TableFieldSchema {
	return &bq.TableFieldSchema{Name: name, Type: kind}
}

type dataset struct {
	meta bq.Dataset
	etag int64
}

type table struct {
	name      string // project.dataset.table
	schema    []*bq.TableFieldSchema
	rows      []Row
	view      string
	about     string // description
	expires   int64  // Unix ms
	cluster   *bq.Clustering
	etag      int64 // of the metadata
	modified  int64 // Unix ms
	bytes     int64 // that reading it is billed for; 0: by its rows
	dry       int64 // that a dry run tells; 0: bytes
	streaming uint64
	visible   func(Row) bool // row-level security; nil: all
}

func (t *table) size() int64 {
	if t.bytes > 0 {
		return t.bytes
	}
	return 100 * int64(len(t.rows))
}

// shown are the rows that a query sees.
func (t *table) shown() []Row {
	if t.visible == nil {
		return t.rows
	}
	var rows []Row
	for _, r := range t.rows {
		if t.visible(r) {
			rows = append(rows, r)
		}
	}
	return rows
}

func (t *table) column(name string) *bq.TableFieldSchema {
	for _, f := range t.schema {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// touch notes a change of the rows.
func (s *Server) touch(t *table) {
	s.clock++
	t.modified = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + s.clock
}

// changed notes a change of the metadata, too.
func (s *Server) changed(t *table) {
	s.touch(t)
	t.etag = s.clock
}

// Dataset makes a dataset, "project.dataset".
func (s *Server) Dataset(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.datasets[name] = &dataset{meta: bq.Dataset{Location: "EU"}}
}

// Create makes a table, "project.dataset.table".
func (s *Server) Create(name string, schema []*bq.TableFieldSchema, rows ...Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &table{name: name, schema: schema, rows: rows}
	s.changed(t)
	s.tables[name] = t
}

// CreateView makes a view, "project.dataset.view", with a description.
func (s *Server) CreateView(name, query, about string) {
	s.Create(name, nil)
	s.edit(name, func(t *table) { t.view, t.about = query, about })
}

// Change changes a table; change gets its rows and returns the new ones.
func (s *Server) Change(name string, change func([]Row) []Row) {
	s.edit(name, func(t *table) { t.rows = change(t.rows) })
}

// Append adds rows to a table.
func (s *Server) Append(name string, rows ...Row) {
	s.Change(name, func(old []Row) []Row { return append(old, rows...) })
}

// AddColumn adds a column, as another program would.
func (s *Server) AddColumn(name string, f *bq.TableFieldSchema) {
	s.edit(name, func(t *table) { t.schema = append(slices.Clone(t.schema), f) })
}

// SetBytes sets what reading a table is billed for, and what a dry run tells
// of that.
func (s *Server) SetBytes(name string, billed, dry int64) {
	s.edit(name, func(t *table) { t.bytes, t.dry = billed, dry })
}

// Secure hides rows from queries: those for which visible is false.
func (s *Server) Secure(name string, visible func(Row) bool) {
	s.edit(name, func(t *table) { t.visible = visible })
}

// Stream puts so many of a table's rows into a streaming buffer, where no
// statement can change them.
func (s *Server) Stream(name string, rows uint64) {
	s.edit(name, func(t *table) { t.streaming = rows })
}

// Drop deletes a table.
func (s *Server) Drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tables, name)
}

func (s *Server) edit(name string, change func(*table)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		panic("bqfake: no table " + name)
	}
	change(t)
	s.changed(t)
}

// Rows are the rows of a table, copied; nil if there is none.
func (s *Server) Rows(name string) []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		return nil
	}
	rows := make([]Row, len(t.rows))
	for i, r := range t.rows {
		rows[i] = maps.Clone(r)
	}
	return rows
}

// Columns are the names of a table's columns.
func (s *Server) Columns(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	if t := s.tables[name]; t != nil {
		for _, f := range t.schema {
			names = append(names, f.Name)
		}
	}
	return names
}

// Tables are the names of the tables of a dataset.
func (s *Server) Tables(dataset string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.tables {
		if strings.HasPrefix(name, dataset+".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// View is the query of a view, or empty.
func (s *Server) View(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil {
		return t.view
	}
	return ""
}

// quotedTag is the ETag of a number.
func quotedTag(n int64) string { return `"` + strconv.FormatInt(n, 10) + `"` }

// resource is a table as REST shows it.
func (t *table) resource() *bq.Table {
	parts := splitName(t.name)
	r := &bq.Table{
		Kind: "bigquery#table", Id: parts[0] + ":" + parts[1] + "." + parts[2], Etag: quotedTag(t.etag), Location: "EU", Type: "TABLE",
		TableReference: &bq.TableReference{ProjectId: parts[0], DatasetId: parts[1], TableId: parts[2]},
		Description:    t.about, ExpirationTime: t.expires, Clustering: t.cluster,
		Schema:           &bq.TableSchema{Fields: t.schema},
		LastModifiedTime: uint64(t.modified), CreationTime: 1,
		NumRows: uint64(len(t.rows)) - t.streaming, NumBytes: t.size(),
	}
	if t.view != "" {
		r.Type, r.View, r.NumBytes = "VIEW", &bq.ViewDefinition{Query: t.view}, 0
	}
	if t.streaming > 0 {
		r.StreamingBuffer = &bq.Streamingbuffer{EstimatedRows: t.streaming, EstimatedBytes: 100 * t.streaming, OldestEntryTime: 1}
	}
	return r
}

// splitName splits project.dataset.table; a project may hold dots.
func splitName(name string) [3]string {
	at := strings.LastIndexByte(name, '.')
	rest := name[:at]
	dataset := strings.LastIndexByte(rest, '.')
	return [3]string{rest[:dataset], rest[dataset+1:], name[at+1:]}
}

func noTable(name string) answer {
	return failure(http.StatusNotFound, "notFound", "Not found: Table "+name)
}

func (s *Server) insertTable(body []byte) answer {
	var r bq.Table
	if err := json.Unmarshal(body, &r); err != nil || r.TableReference == nil {
		return failure(http.StatusBadRequest, "invalid", "no table in the request")
	}
	ref := r.TableReference
	name := ref.ProjectId + "." + ref.DatasetId + "." + ref.TableId
	if s.datasets[ref.ProjectId+"."+ref.DatasetId] == nil {
		return failure(http.StatusNotFound, "notFound", "Not found: Dataset "+ref.ProjectId+":"+ref.DatasetId)
	}
	if s.tables[name] != nil {
		return failure(http.StatusConflict, "duplicate", "Already Exists: Table "+name)
	}
	t := &table{name: name, about: r.Description, cluster: r.Clustering, expires: r.ExpirationTime}
	if r.Schema != nil {
		t.schema = r.Schema.Fields
	}
	if r.View != nil {
		t.view = r.View.Query
	}
	s.changed(t)
	s.tables[name] = t
	return success(t.resource())
}

func (s *Server) patchTable(name, ifMatch string, body []byte) answer {
	t := s.tables[name]
	if t == nil {
		return noTable(name)
	}
	if ifMatch != "" && ifMatch != quotedTag(t.etag) {
		return failure(http.StatusPreconditionFailed, "conditionNotMet", "Precondition check failed.")
	}
	var has map[string]json.RawMessage
	var r bq.Table
	if json.Unmarshal(body, &has) != nil || json.Unmarshal(body, &r) != nil {
		return failure(http.StatusBadRequest, "invalid", "no table in the request")
	}
	for key := range has {
		switch key {
		case "schema":
			for _, old := range t.schema {
				if !slices.ContainsFunc(r.Schema.Fields, func(f *bq.TableFieldSchema) bool { return f.Name == old.Name && f.Type == old.Type }) {
					return failure(http.StatusBadRequest, "invalid", fmt.Sprintf("Provided Schema does not match Table %s. Field %s is missing in new schema", name, old.Name))
				}
			}
			t.schema = r.Schema.Fields
		case "description":
			t.about = r.Description
		case "view":
			t.view = r.View.Query
		case "expirationTime":
			t.expires = r.ExpirationTime
		case "tableReference", "kind":
		default:
			return failure(http.StatusNotImplemented, "notImplemented", "bqfake: cannot change "+key)
		}
	}
	s.changed(t)
	return success(t.resource())
}
