package bqfake

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream is a part of the rows of a read session.
type stream struct {
	schema     *arrow.Schema
	serialized []byte // the bare schema message
	rows       []Row
}

var tablePath = regexp.MustCompile(`^projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)$`)

// CreateReadSession makes a session of the rows as they are now.
func (s *Server) CreateReadSession(_ context.Context, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, error) {
	name := tablePath.ReplaceAllString(req.GetReadSession().GetTable(), "$1.$2.$3")
	f := s.arrive(Call{Method: "CreateReadSession", Target: name})
	var session *storagepb.ReadSession
	var err error
	if !f.fails() || f.Stored {
		session, err = s.session(name, req)
	}
	if f.fails() {
		return nil, status.Error(f.Code, f.Message)
	}
	return session, err
}

func (s *Server) session(name string, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		return nil, status.Errorf(codes.NotFound, "Not found: Table %s", name)
	}
	if req.ReadSession.DataFormat != storagepb.DataFormat_ARROW {
		return nil, status.Error(codes.Unimplemented, "bqfake: Arrow only")
	}
	var fields []arrow.Field
	for _, f := range t.schema {
		selected := len(req.ReadSession.GetReadOptions().GetSelectedFields()) == 0
		for _, n := range req.ReadSession.GetReadOptions().GetSelectedFields() {
			selected = selected || n == f.Name
		}
		if selected {
			fields = append(fields, arrow.Field{Name: f.Name, Type: arrowType(f), Nullable: f.Mode != "REQUIRED"})
		}
	}
	schema := arrow.NewSchema(fields, nil)
	serialized, err := bareSchema(schema)
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	s.serial++
	out := &storagepb.ReadSession{
		Name: fmt.Sprintf("projects/p/locations/eu/sessions/%d", s.serial), Table: req.ReadSession.Table, DataFormat: storagepb.DataFormat_ARROW,
		Schema: &storagepb.ReadSession_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: serialized}}, EstimatedRowCount: int64(len(t.rows)),
	}
	n := min(s.width, int(req.MaxStreamCount), len(t.rows))
	for i := range n {
		st := &stream{schema: schema, serialized: serialized, rows: t.rows[i*len(t.rows)/n : (i+1)*len(t.rows)/n]}
		name := fmt.Sprintf("%s/streams/%d", out.Name, i)
		s.streams[name] = st
		out.Streams = append(out.Streams, &storagepb.ReadStream{Name: name})
	}
	return out, nil
}

// ReadRows sends the rows of a stream from an offset on.
func (s *Server) ReadRows(req *storagepb.ReadRowsRequest, to storagepb.BigQueryRead_ReadRowsServer) error {
	f := s.arrive(Call{Method: "ReadRows", Target: req.ReadStream, Offset: req.Offset})
	if f.Code != codes.OK && f.After == 0 && !f.Stored {
		return status.Error(f.Code, f.Message)
	}
	s.mu.Lock()
	st, per := s.streams[req.ReadStream], s.per
	s.mu.Unlock()
	if st == nil {
		return status.Errorf(codes.NotFound, "Not found: Stream %s", req.ReadStream)
	}
	if req.Offset > int64(len(st.rows)) {
		return status.Errorf(codes.OutOfRange, "request failed: offset %d is past the end of the stream", req.Offset)
	}
	rows := st.rows[req.Offset:]
	for sent := 0; len(rows) > 0; sent++ {
		if f.fails() && sent == f.After && !f.Stored {
			break
		}
		n := min(per, len(rows))
		message, err := st.message(rows[:n])
		if err != nil {
			return status.Error(codes.FailedPrecondition, err.Error())
		}
		if err := to.Send(message); err != nil {
			return err
		}
		rows = rows[n:]
	}
	switch {
	case f.Hang:
		<-to.Context().Done()
		return to.Context().Err()
	case f.Code != codes.OK:
		return status.Error(f.Code, f.Message)
	}
	return nil
}

func (st *stream) message(rows []Row) (*storagepb.ReadRowsResponse, error) {
	build := array.NewRecordBuilder(memory.DefaultAllocator, st.schema)
	defer build.Release()
	for i, f := range st.schema.Fields() {
		for _, r := range rows {
			switch v := r[f.Name].(type) {
			case string:
				build.Field(i).(*array.StringBuilder).Append(v)
			case int64:
				build.Field(i).(*array.Int64Builder).Append(v)
			case time.Time:
				build.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
			default:
				build.Field(i).AppendNull()
			}
		}
	}
	record := build.NewRecord()
	defer record.Release()
	var out bytes.Buffer
	if err := ipc.NewWriter(&out, ipc.WithSchema(st.schema)).Write(record); err != nil {
		return nil, err
	}
	batch, ok := bytes.CutPrefix(out.Bytes(), st.serialized)
	if !ok {
		return nil, fmt.Errorf("an Arrow stream that does not begin with its schema")
	}
	return &storagepb.ReadRowsResponse{RowCount: int64(len(rows)), Rows: &storagepb.ReadRowsResponse_ArrowRecordBatch{
		ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: batch},
	}}, nil
}

// bareSchema is the schema message of an Arrow IPC stream.
func bareSchema(schema *arrow.Schema) ([]byte, error) {
	var out bytes.Buffer
	if err := ipc.NewWriter(&out, ipc.WithSchema(schema)).Close(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), nil
}

func arrowType(f *bq.TableFieldSchema) arrow.DataType {
	switch f.Type {
	case "INTEGER", "INT64":
		return arrow.PrimitiveTypes.Int64
	case "TIMESTAMP":
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	default:
		return arrow.BinaryTypes.String
	}
}
