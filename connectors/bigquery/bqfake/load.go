package bqfake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	bq "google.golang.org/api/bigquery/v2"
)

// splitUpload takes a multipart upload apart.
func splitUpload(contentType string, body []byte) (meta, file []byte, err error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, nil, err
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for _, into := range []*[]byte{&meta, &file} {
		part, err := parts.NextPart()
		if err != nil {
			return nil, nil, err
		}
		if *into, err = io.ReadAll(part); err != nil {
			return nil, nil, err
		}
	}
	return meta, file, nil
}

// upload is a resumable upload under way.
type upload struct {
	project string
	job     *bq.Job
	file    []byte
	done    *answer
}

func (s *Server) beginUpload(host, project string, in *bq.Job) answer {
	s.serial++
	id := fmt.Sprintf("upload_%d", s.serial)
	s.uploads[id] = &upload{project: project, job: in}
	return answer{status: http.StatusOK, header: http.Header{"Location": {"http://" + host + "/upload/bigquery/v2/projects/" + project + "/jobs?upload_id=" + id}}}
}

// routeChunk takes a piece of a resumable upload.
func (s *Server) routeChunk(r *http.Request, id string, body []byte) (Call, func(Call) answer) {
	s.mu.Lock()
	u := s.uploads[id]
	s.mu.Unlock()
	if u == nil {
		return Call{Method: "jobs.insert", Target: id}, func(Call) answer { return failure(http.StatusNotFound, "notFound", "no upload "+id) }
	}
	var from, to, size int
	contentRange := r.Header.Get("Content-Range")
	_, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &from, &to, &size)
	last := err == nil
	if err != nil {
		if _, err = fmt.Sscanf(contentRange, "bytes %d-%d/*", &from, &to); err != nil {
			_, err = fmt.Sscanf(contentRange, "bytes */%d", &size)
			last = err == nil
		}
	}
	call := callOf(u.job)
	if !last {
		call.Method = "jobs.upload"
	}
	return call, func(c Call) answer {
		switch {
		case err != nil:
			return failure(http.StatusBadRequest, "invalid", "Content-Range: "+contentRange)
		case u.done != nil:
			return *u.done
		case from > len(u.file):
			return failure(http.StatusBadRequest, "invalid", "a piece is missing")
		}
		u.file = append(u.file[:from], body...)
		if !last {
			header := http.Header{"Range": {fmt.Sprintf("bytes=0-%d", len(u.file)-1)}}
			header.Set("X-Http-Status-Code-Override", "308")
			return answer{status: http.StatusOK, header: header} // so the client asks for it
		}
		a := s.insertJob(c, u.project, u.job, u.file)
		u.done = &a
		return a
	}
}

// load reads a Parquet file into a table.
func (s *Server) load(conf *bq.JobConfigurationLoad, file []byte) (result, *bq.ErrorProto) {
	if conf.SourceFormat != "PARQUET" || conf.WriteDisposition != "WRITE_TRUNCATE" || conf.Schema == nil {
		return result{}, &bq.ErrorProto{Reason: "invalid", Message: "bqfake: it loads Parquet only, with a schema, in place of a table"}
	}
	rows, err := parquetRows(file)
	if err != nil {
		return result{}, &bq.ErrorProto{Reason: "invalid", Message: "Error while reading data, error message: " + err.Error()}
	}
	for _, f := range conf.Schema.Fields {
		for _, r := range rows {
			if r[f.Name] == nil && f.Mode == "REQUIRED" {
				return result{}, &bq.ErrorProto{Reason: "invalid", Message: "Required field " + f.Name + " cannot be null"}
			}
		}
	}
	s.replace(conf.DestinationTable, result{schema: conf.Schema.Fields, rows: rows}, nil)
	return result{kind: "LOAD", dml: &bq.DmlStatistics{InsertedRowCount: int64(len(rows))}}, nil
}

func parquetRows(file []byte) ([]Row, error) {
	t, err := pqarrow.ReadTable(context.Background(), bytes.NewReader(file), parquet.NewReaderProperties(memory.DefaultAllocator), pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	defer t.Release()
	rows := make([]Row, 0, t.NumRows())
	reader := array.NewTableReader(t, 0)
	defer reader.Release()
	for reader.Next() {
		record := reader.Record()
		for i := range int(record.NumRows()) {
			row := Row{}
			for c, f := range record.Schema().Fields() {
				column := record.Column(c)
				if column.IsNull(i) {
					continue
				}
				switch column := column.(type) {
				case *array.String:
					row[f.Name] = string([]byte(column.Value(i)))
				case *array.Int64:
					row[f.Name] = column.Value(i)
				case *array.Timestamp:
					row[f.Name] = column.Value(i).ToTime(f.Type.(*arrow.TimestampType).Unit)
				default:
					return nil, errors.New("column " + f.Name + " is of type " + column.DataType().String())
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, reader.Err()
}

// json is a row as REST sends it.
func (r Row) json(schema []*bq.TableFieldSchema) *bq.TableRow {
	out := &bq.TableRow{}
	for _, f := range schema {
		out.F = append(out.F, &bq.TableCell{V: jsonValue(r[f.Name])})
	}
	return out
}

func jsonValue(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return v
	case interface{ UnixMicro() int64 }:
		return fmt.Sprint(v.UnixMicro())
	default:
		text, _ := json.Marshal(v)
		return string(text)
	}
}
