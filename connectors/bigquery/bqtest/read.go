package bqtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// batchRows is the largest number of rows in one message of ReadRows.
	batchRows = 256
	// maxReadStreams is the largest number of streams in a session.
	maxReadStreams = 4
	// maxSessions is how many sessions are kept.
	maxSessions = 64
)

// reads is the Storage Read API.
//
// A session holds the rows of the table as they were when it was made, as
// with BigQuery, and hands them out itself:
//
//   - Emulator: it reads the table when a stream is read. BigQuery: a session
//     is a snapshot.
//   - Emulator: more than one stream is refused. BigQuery: up to as many as
//     asked for, and none for an empty table.
//   - Emulator: the rows come as one message with a whole Arrow IPC stream:
//     schema, batch, end marker; the session's schema is such a stream, too.
//     BigQuery: many messages, each a bare record batch, and a bare schema.
//   - Emulator: the offset of ReadRows is ignored. BigQuery: rows before it are
//     passed over.
//   - Emulator: columns come in the order asked for under a schema in the
//     table's order. BigQuery: the order asked for does not matter.
//   - Emulator: compression is ignored. BigQuery: LZ4 or Zstandard if asked for.
type reads struct {
	storagepb.UnimplementedBigQueryReadServer
	em   *Emulator
	back storagepb.BigQueryReadClient

	mu       sync.Mutex
	streams  map[string]*readStream
	sessions [][]string // names of streams by session, oldest first
}

// readStream is a part of a session's rows, ready to be sent.
type readStream struct {
	schema   *storagepb.ArrowSchema
	batches  []arrow.Record
	options  []ipc.Option                  // of the batches
	messages []*storagepb.ReadRowsResponse // Avro: as the emulator sent them
}

func (r *reads) CreateReadSession(ctx context.Context, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, error) {
	if req.GetReadSession() == nil {
		return nil, status.Error(codes.InvalidArgument, "request failed: no read session")
	}
	t, err := r.em.lookUp(ctx, req.ReadSession.Table)
	if err != nil {
		return nil, err
	}
	if t.Type != "TABLE" {
		return nil, status.Errorf(codes.InvalidArgument, "request failed: only table entities are supported, and this is a %s", t.Type)
	}
	limit := streamLimit(req)
	req = proto.CloneOf(req)
	req.MaxStreamCount, req.PreferredMinStreamCount = 1, 0
	if o := req.ReadSession.ReadOptions; o != nil {
		if o.SelectedFields, err = inOrder(t, o.SelectedFields); err != nil {
			return nil, err
		}
	}
	var session *storagepb.ReadSession
	var messages []*storagepb.ReadRowsResponse
	original := req.ReadSession.Table
	err = r.em.copied(ctx, original, t, func(name string) (err error) {
		r.em.turn.Lock()
		defer r.em.turn.Unlock()
		req.ReadSession.Table = name
		session, messages, err = r.snapshot(ctx, req)
		return err
	})
	if err != nil {
		return nil, r.em.fault(err)
	}
	session.Table = original
	session.EstimatedRowCount = 0
	for _, m := range messages {
		session.EstimatedRowCount += m.RowCount
	}
	streams, err := split(session, messages, limit)
	if err != nil {
		return nil, r.em.fault(err)
	}
	r.keep(session, streams)
	return session, nil
}

// streamLimit is how many streams a session may have.
func streamLimit(req *storagepb.CreateReadSessionRequest) int {
	if req.MaxStreamCount > 0 {
		return min(int(req.MaxStreamCount), maxReadStreams)
	}
	return maxReadStreams
}

// inOrder sorts selected columns as the table has them.
func inOrder(t table, selected []string) ([]string, error) {
	columns, err := t.columns()
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "emulator: %v", err)
	}
	var sorted []string
	for _, name := range columns {
		if slices.Contains(selected, name) {
			sorted = append(sorted, name)
		}
	}
	for _, name := range selected {
		if !slices.Contains(sorted, name) {
			return nil, status.Errorf(codes.InvalidArgument, "request failed: The following selected fields do not exist in the table schema: %s", name)
		}
	}
	return sorted, nil
}

// snapshot makes a session with one stream and reads all of it.
func (r *reads) snapshot(ctx context.Context, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, []*storagepb.ReadRowsResponse, error) {
	session, err := r.back.CreateReadSession(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	var messages []*storagepb.ReadRowsResponse
	for _, s := range session.Streams {
		stream, err := r.back.ReadRows(ctx, &storagepb.ReadRowsRequest{ReadStream: s.Name})
		if err != nil {
			return nil, nil, err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, nil, err
			}
			messages = append(messages, m)
		}
	}
	return session, messages, nil
}

// split deals the rows out to at most limit streams and puts their names, and
// a bare schema, in the session.
func split(session *storagepb.ReadSession, messages []*storagepb.ReadRowsResponse, limit int) ([]*readStream, error) {
	name := session.Name + "/streams/0"
	if session.DataFormat != storagepb.DataFormat_ARROW {
		session.Streams = []*storagepb.ReadStream{{Name: name}}
		return []*readStream{{messages: messages}}, nil
	}
	schema, batches, err := decode(session, messages)
	if err != nil {
		return nil, err
	}
	serialized, err := encodeSchema(schema)
	if err != nil {
		return nil, err
	}
	arrowSchema := &storagepb.ArrowSchema{SerializedSchema: serialized}
	session.Schema = &storagepb.ReadSession_ArrowSchema{ArrowSchema: arrowSchema}
	session.Streams = nil
	options := compression(session.GetReadOptions())
	streams := make([]*readStream, min(limit, len(batches)))
	for i := range streams {
		session.Streams = append(session.Streams, &storagepb.ReadStream{Name: fmt.Sprintf("%s/streams/%d", session.Name, i)})
		streams[i] = &readStream{schema: arrowSchema}
	}
	for i, b := range batches {
		s := streams[i%len(streams)]
		s.batches = append(s.batches, b)
		s.options = options
	}
	return streams, nil
}

func (r *reads) keep(session *storagepb.ReadSession, streams []*readStream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for i, s := range session.Streams {
		names = append(names, s.Name)
		r.streams[s.Name] = streams[i]
	}
	r.sessions = append(r.sessions, names)
	if len(r.sessions) > maxSessions {
		for _, name := range r.sessions[0] {
			delete(r.streams, name)
		}
		r.sessions = r.sessions[1:]
	}
}

func (r *reads) ReadRows(req *storagepb.ReadRowsRequest, client storagepb.BigQueryRead_ReadRowsServer) error {
	r.mu.Lock()
	stream := r.streams[req.ReadStream]
	r.mu.Unlock()
	if stream == nil {
		return status.Errorf(codes.NotFound, "Not found: Stream %s", req.ReadStream)
	}
	for _, m := range stream.messages {
		if err := client.Send(m); err != nil {
			return err
		}
	}
	skip, first := req.Offset, true
	for _, b := range stream.batches {
		if skip >= b.NumRows() {
			skip -= b.NumRows()
			continue
		}
		b = b.NewSlice(skip, b.NumRows())
		skip = 0
		serialized, err := encodeBatch(stream.schema, b, stream.options)
		if err != nil {
			return r.em.fault(err)
		}
		m := &storagepb.ReadRowsResponse{
			RowCount: b.NumRows(),
			Rows: &storagepb.ReadRowsResponse_ArrowRecordBatch{
				ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: serialized},
			},
		}
		if first { // BigQuery: only the first message of a stream repeats the schema
			m.Schema = &storagepb.ReadRowsResponse_ArrowSchema{ArrowSchema: stream.schema}
			first = false
		}
		if err := client.Send(m); err != nil {
			return err
		}
	}
	if skip > 0 {
		return status.Errorf(codes.OutOfRange, "request failed: offset %d is %d rows past the end of the stream", req.Offset, skip)
	}
	return nil
}

// SplitReadStream splits nothing, which BigQuery answers with no streams.
//
// Emulator: it is not implemented.
func (r *reads) SplitReadStream(context.Context, *storagepb.SplitReadStreamRequest) (*storagepb.SplitReadStreamResponse, error) {
	return &storagepb.SplitReadStreamResponse{}, nil
}
